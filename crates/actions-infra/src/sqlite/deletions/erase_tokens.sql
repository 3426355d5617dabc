delete from engine_api_key_token where lookup in (
    select token.lookup
    from engine_api_key as api_key
    join engine_api_key_token as token on token.api_key = api_key.id
    where api_key.tenant = ?1
    limit ?2)
