insert into engine.session
    (tenant, id, account, lookup, digest, created_at, expires_at, last_used_at, ended_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (lookup) do nothing
