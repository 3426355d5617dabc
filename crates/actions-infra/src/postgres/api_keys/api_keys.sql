select tenant, id, name, role, created_by, created_at, expires_at, last_used_at, revoked_at,
    lookup, others_end_at
from engine.api_key
where tenant = $1
order by id
