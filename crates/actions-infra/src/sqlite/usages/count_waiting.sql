-- What has not ended is in the log or among the later items, and not among the ends.
select (
    select count(*)
    from engine_work as work
    where work.tenant = ?1
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = work.tenant and execution.id = work.id
        )
        and not exists (select 1 from engine_later as later where later.id = work.id)
) + (
    select count(*) from engine_later as later where later.tenant = ?1
) as waiting
