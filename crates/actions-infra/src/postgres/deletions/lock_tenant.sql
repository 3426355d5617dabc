-- Whoever changes something of the tenant has ended, or comes after and finds nothing.
select id, uuid, slug, name, defs_version, created_at, controls::text as controls
from engine.tenant
where slug = $1
for update
