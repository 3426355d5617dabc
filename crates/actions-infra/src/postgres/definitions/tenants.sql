select id, uuid, slug, name, defs_version, created_at from engine.tenant order by id
