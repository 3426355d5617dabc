-- After its items, which nobody finds without it.
delete from engine_bulk
where tenant = ?1 and id in (
    select id from engine_bulk where tenant = ?1 and ended_at < ?4 limit ?3
)
