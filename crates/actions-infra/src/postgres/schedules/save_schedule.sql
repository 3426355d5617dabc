insert into engine.schedule
    (tenant, name, spec, version, created_at, updated_at,
     handled_until, last_at, last_execution, last_error)
values ($1, $2, $3::json, $4, $5, $6, $7, $8, $9, $10)
on conflict (tenant, name) do update
set spec = excluded.spec, version = excluded.version, updated_at = excluded.updated_at,
    -- The owner may have noted more since this was read.
    handled_until = greatest(schedule.handled_until, excluded.handled_until)
