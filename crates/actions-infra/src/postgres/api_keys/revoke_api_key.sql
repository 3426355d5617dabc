update engine.api_key
set revoked_at = $3, version = $4
where tenant = $1 and id = $2 and revoked_at is null
