-- Dead letters go with their executions.
delete from engine_dead
where tenant = ?1 and id in (
    select dead.id
    from engine_dead as dead
    where dead.tenant = ?1
        and dead.id < ?2
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = dead.tenant and execution.id = dead.id
        )
    order by dead.id
    limit ?3
)
