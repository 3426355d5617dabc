select id, tenant, action, spec::text, version, created_at, updated_at, deleted
from engine.write_subscription_v1($1, $2, $3, $4::json, $5)
