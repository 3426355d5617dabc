-- The event knows the ids; each is looked up in its three possible homes. An item that has two
-- for a moment is finished before it is later, and later before it is in the log.
select found.*
from engine.event
cross join lateral unnest(event.executions) as wanted (id)
cross join lateral (
    select
        1 as home, id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at,
        null::timestamptz as due_at, started_at, ended_at, input, output, error, attempts
    from engine.execution
    where execution.id = wanted.id and execution.tenant = $1
    union all
    select
        2, id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, due, null,
        null, input, null, null, attempts
    from engine.later
    where later.id = wanted.id and later.tenant = $1
    union all
    select
        3, id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, null, null,
        null, input, null, null, null
    from engine.work
    where work.tenant = $1 and work.id = wanted.id
    order by home
    limit 1
) as found
where event.id = $2
order by found.id
