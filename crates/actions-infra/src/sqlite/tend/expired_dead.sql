-- Nobody waits for these any more. Their executions stay.
delete from engine_dead
where tenant = ?1 and id in (
    select id from engine_dead where tenant = ?1 and died_at < ?4 order by id limit ?3
)
