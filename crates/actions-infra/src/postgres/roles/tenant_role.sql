-- What the readers' role is, where it is there: no row when it is not. Until version 16, who is a
-- member may become it.
select
    rolsuper or rolbypassrls or exists (
        select from pg_auth_members where member = pg_roles.oid) as is_more,
    pg_has_role(
        current_user, oid,
        case when current_setting('server_version_num')::int4 >= 160000 then 'set' else 'member' end
    ) as may_become
from pg_roles
where rolname = 'actions_tenant'
