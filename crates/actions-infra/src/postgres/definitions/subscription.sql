select id, tenant, action, spec::text, version, created_at, updated_at, deleted
from engine.subscription
where tenant = $1 and id = $2
