-- The index on (tenant, version) makes a small change a small read.
select id, tenant, uuid, spec, health, version, created_at, updated_at, deleted
from engine_action
where tenant = ?1 and version > ?2
order by id
