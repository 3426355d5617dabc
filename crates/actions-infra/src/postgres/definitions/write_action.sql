select id, tenant, uuid, spec::text, health::text, version, created_at, updated_at, deleted
from engine.write_action_v1($1, $2, $3, $4, $5::json, $6::json, $7)
