-- Answers no row when the slug or the uuid is taken.
insert into engine_tenant (uuid, slug, name, created_at)
values (?1, ?2, ?3, ?4)
on conflict do nothing
returning id, uuid, slug, name, defs_version, created_at
