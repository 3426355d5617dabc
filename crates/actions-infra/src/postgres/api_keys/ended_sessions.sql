-- Of tenants that are gone, the sessions may be gone from the table as well.
select id from engine.session where version > $1
union all
select unnest(sessions) from engine.tenant_deletion where key_version > $1
