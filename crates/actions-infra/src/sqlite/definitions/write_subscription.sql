insert into engine_subscription
    (id, tenant, action, spec, version, created_at, updated_at, deleted)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict (tenant, id) do update set
    action = excluded.action, spec = excluded.spec, version = excluded.version,
    created_at = excluded.created_at, updated_at = excluded.updated_at,
    deleted = excluded.deleted
