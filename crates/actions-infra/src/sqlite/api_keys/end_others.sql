update engine_api_key_token
set ends_at = min(coalesce(ends_at, ?2), ?2)
where api_key = ?1
