-- One look-up by key in each home. There is one row at most.
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at, input,
        status, started_at, ended_at, null as due, output, error, attempts
    from engine_execution
    where tenant = ?1 and id = ?2
)
union all
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at, input,
        null as status, null as started_at, null as ended_at, due, null as output,
        null as error, attempts
    from engine_later
    where tenant = ?1 and id = ?2
)
union all
select * from (
    select
        work.id, work.tenant, work.lane, work.action, work.defs, work.akey, work.amode,
        work.event, work.parent, work.queued_at, work.input, null as status,
        null as started_at, null as ended_at, null as due, null as output, null as error,
        '[]' as attempts
    from engine_work as work
    where work.tenant = ?1 and work.id = ?2
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = work.tenant and execution.id = work.id
        )
        and not exists (select 1 from engine_later as later where later.id = work.id)
)
