insert or replace into engine_schedule
    (tenant, name, spec, version, created_at, updated_at,
     handled_until, last_at, last_execution, last_error)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
