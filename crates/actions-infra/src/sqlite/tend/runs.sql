-- After its journal, which nobody finds without it.
delete from engine_run
where tenant = ?1 and id in (
    select id from engine_run where tenant = ?1 and ended_at < ?4 limit ?3
)
