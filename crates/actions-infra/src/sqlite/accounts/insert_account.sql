insert into engine_account
    (tenant, id, name, role, created_by, created_at, password_set_at, disabled_at, last_login_at,
     revision, password)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (tenant, name) do nothing
