-- The newest ones stay, by the time at which they ended.
delete from engine.api_key
where id in (
    select id
    from engine.api_key
    where tenant = $1 and (revoked_at is not null or expires_at <= $2)
    order by least(revoked_at, expires_at) desc, id desc
    offset $3)
