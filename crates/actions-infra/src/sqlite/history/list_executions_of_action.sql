-- As list_executions.sql, for one action (?5), whose finished executions have an index.
-- Payloads above ?6 bytes are left out; their size is known without reading them.
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at,
        iif(octet_length(input) <= ?6, input, null) as input, octet_length(input) as input_bytes,
        status, started_at, ended_at, null as due,
        iif(octet_length(output) <= ?6, output, null) as output, octet_length(output) as output_bytes,
        error, attempts
    from engine_execution indexed by engine_execution_by_action
    where action = ?5 and tenant = ?1 and id < ?2 and (?3 >> status) & 1
    order by id desc
    limit ?4
)
union all
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at,
        iif(octet_length(input) <= ?6, input, null) as input, octet_length(input) as input_bytes,
        null as status, null as started_at, null as ended_at, due, null as output,
        null as output_bytes, null as error, attempts
    from engine_later
    where tenant = ?1 and id < ?2 and action = ?5
        and (?3 >> iif(attempts = '[]', 0, 4)) & 1
    order by id desc
    limit ?4
)
union all
select * from (
    select
        work.id, work.tenant, work.lane, work.action, work.defs, work.akey, work.amode,
        work.event, work.parent, work.queued_at,
        iif(octet_length(work.input) <= ?6, work.input, null) as input, octet_length(work.input) as input_bytes,
        null as status, null as started_at, null as ended_at, null as due, null as output,
        null as output_bytes, null as error, '[]' as attempts
    from engine_work as work
    where work.tenant = ?1 and work.id < ?2 and work.action = ?5 and ?3 & 1
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = work.tenant and execution.id = work.id
        )
        and not exists (select 1 from engine_later as later where later.id = work.id)
    order by work.id desc
    limit ?4
)
order by id desc
limit ?4
