insert into engine_session
    (tenant, id, account, lookup, digest, created_at, expires_at, last_used_at, ended_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (lookup) do nothing
