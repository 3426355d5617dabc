-- The index on (tenant, version) makes a small change a small read.
select id, tenant, action, spec, version, created_at, updated_at, deleted
from engine_subscription
where tenant = ?1 and version > ?2
order by id
