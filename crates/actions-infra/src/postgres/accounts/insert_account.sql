insert into engine.account
    (tenant, id, name, role, created_by, created_at, password_set_at, disabled_at, last_login_at,
     revision, password)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (tenant, name) do nothing
