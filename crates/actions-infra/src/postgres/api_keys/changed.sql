-- Of tenants that are gone, the keys may be gone from the table as well.
select id from engine.api_key where version > $1
union all
select unnest(keys) from engine.tenant_deletion where key_version > $1
