select id, tenant, action, spec::text, version, created_at, updated_at, deleted
from engine.subscription
where id = $1
