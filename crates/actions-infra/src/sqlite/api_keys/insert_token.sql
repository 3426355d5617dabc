insert into engine_api_key_token (lookup, api_key, digest, created_at, ends_at)
values (?, ?, ?, ?, ?)
on conflict (lookup) do nothing
