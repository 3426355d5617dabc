-- The newest ones stay, by the time at which they ended.
delete from engine_api_key
where id in (
    select id
    from engine_api_key
    where tenant = ?1 and (revoked_at is not null or expires_at <= ?2)
    order by min(coalesce(revoked_at, expires_at), coalesce(expires_at, revoked_at)) desc, id desc
    limit -1 offset ?3)
