update engine.api_key_token
set ends_at = least(ends_at, $2)
where api_key = $1
