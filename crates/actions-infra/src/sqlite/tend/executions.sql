-- An item of the log is finished because its execution is there, so that goes last.
delete from engine_execution
where tenant = ?1 and id in (
    select execution.id
    from engine_execution as execution
    where execution.tenant = ?1
        and execution.id < ?2
        and not exists (
            select 1 from engine_work as work
            where work.tenant = execution.tenant and work.id = execution.id
        )
    order by execution.id
    limit ?3
)
