select id, uuid, slug, name, defs_version, created_at
from engine.create_tenant_v1($1, $2, $3)
