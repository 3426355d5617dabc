select tenant, id, name, role, created_by, created_at, password_set_at, disabled_at,
    last_login_at, revision, password
from engine.account
where tenant = $1 and name = $2
