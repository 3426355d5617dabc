-- What holds no more has no name to defend.
insert into engine_api_key (tenant, id, name, role, created_by, created_at, expires_at, lookup)
select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
where not exists (
    select 1 from engine_api_key
    where tenant = ?1 and name = ?3 and revoked_at is null
      and (expires_at is null or expires_at > ?6))
