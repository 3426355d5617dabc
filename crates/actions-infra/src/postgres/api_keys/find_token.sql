-- By the primary keys of both tables.
select api_key.tenant, api_key.id, api_key.name, api_key.role, api_key.created_by,
    api_key.created_at, api_key.expires_at, api_key.last_used_at, api_key.revoked_at,
    api_key.lookup, api_key.others_end_at,
    token.digest, token.ends_at
from engine.api_key_token as token
join engine.api_key as api_key on api_key.id = token.api_key
where token.lookup = $1
