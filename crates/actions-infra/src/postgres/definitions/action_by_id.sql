select id, tenant, uuid, spec::text, health::text, version, created_at, updated_at, deleted
from engine.action
where tenant = $1 and id = $2 and not deleted
