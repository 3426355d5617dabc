-- One statement, so that one moment is read: the version and the controls, then everything newer
-- than `since`.
select
    1 as kind, defs_version as version, null::int4 as number, null::uuid as uuid,
    controls::text as spec, null::text as health, created_at, created_at as updated_at,
    false as deleted
from engine.tenant
where id = $1
union all
select 2, version, id, uuid, spec::text, health::text, created_at, updated_at, deleted
from engine.action
where tenant = $1 and version > $2
union all
select 3, version, action, id, spec::text, null, created_at, updated_at, deleted
from engine.subscription
where tenant = $1 and version > $2
order by kind, version, number, uuid
