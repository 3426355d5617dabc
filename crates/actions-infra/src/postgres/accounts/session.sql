select session.id as session_id, session.created_at as session_created_at, session.expires_at,
    session.last_used_at, session.ended_at, session.lookup,
    account.tenant, account.id, account.name, account.role, account.created_by, account.created_at,
    account.password_set_at, account.disabled_at, account.last_login_at, account.revision
from engine.session as session
join engine.account as account on account.id = session.account
where session.tenant = $1 and session.id = $2
