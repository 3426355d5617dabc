-- One moment is read, so the item is found wherever it lives. One that has two homes for a
-- moment is finished before it is later, and later before it is in the log.
select
    1 as home, id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at,
    null::timestamptz as due_at, started_at, ended_at, input, output, error, attempts
from engine.execution
where execution.id = $2 and execution.tenant = $1
union all
select
    2, id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, due, null, null,
    input, null, null, attempts
from engine.later
where later.id = $2 and later.tenant = $1
union all
select
    3, id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, null, null,
    null, input, null, null, null
from engine.work
where work.tenant = $1 and work.id = $2
order by home
limit 1
