insert into engine.api_key_token (lookup, api_key, digest, created_at, ends_at)
values ($1, $2, $3, $4, $5)
on conflict (lookup) do nothing
