-- The event knows its executions: 16 bytes each, one after the other. They are cut apart here,
-- and each is looked up by key in all three homes.
with recursive ids (rest, id) as (
    select substr(executions, 17), substr(executions, 1, 16)
    from engine_event
    where id = ?2 and tenant = ?1 and length(executions) > 0
    union all
    select substr(rest, 17), substr(rest, 1, 16) from ids where length(rest) > 0
)
select * from (
    select
        execution.id, execution.tenant, execution.lane, execution.action, execution.defs,
        execution.akey, execution.amode, execution.event, execution.parent, execution.queued_at,
        execution.input, execution.status, execution.started_at, execution.ended_at,
        null as due, execution.output, execution.error, execution.attempts
    from ids
    cross join engine_execution as execution
        on execution.tenant = ?1 and execution.id = ids.id
)
union all
select * from (
    select
        later.id, later.tenant, later.lane, later.action, later.defs, later.akey, later.amode,
        later.event, later.parent, later.queued_at, later.input, null as status,
        null as started_at, null as ended_at, later.due, null as output, null as error,
        later.attempts
    from ids
    cross join engine_later as later on later.id = ids.id
)
union all
select * from (
    select
        work.id, work.tenant, work.lane, work.action, work.defs, work.akey, work.amode,
        work.event, work.parent, work.queued_at, work.input, null as status,
        null as started_at, null as ended_at, null as due, null as output, null as error,
        '[]' as attempts
    from ids
    cross join engine_work as work on work.tenant = ?1 and work.id = ids.id
    where not exists (
            select 1 from engine_execution as execution
            where execution.tenant = work.tenant and execution.id = work.id
        )
        and not exists (select 1 from engine_later as later where later.id = work.id)
)
order by id
