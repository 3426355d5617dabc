-- Also where its account is gone.
select tenant, id, account, created_at, expires_at, last_used_at, ended_at, lookup
from engine.session
where tenant = $1 and id = $2
