-- Under the lock of the tenant's row, so no other key takes the name meanwhile. What holds no more
-- has no name to defend.
insert into engine.api_key
    (tenant, id, name, role, created_by, created_at, expires_at, lookup)
select $1, $2, $3, $4, $5, $6, $7, $8
where not exists (
    select from engine.api_key
    where tenant = $1 and name = $3 and revoked_at is null
      and (expires_at is null or expires_at > $6))
