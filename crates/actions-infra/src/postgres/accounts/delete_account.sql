delete from engine.account
where tenant = $1 and id = $2 and revision = $3
returning tenant, id, name, role, created_by, created_at, password_set_at, disabled_at,
    last_login_at, revision
