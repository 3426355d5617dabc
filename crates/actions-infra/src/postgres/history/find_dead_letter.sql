select
    dead.fingerprint, dead.died_at,
    execution.id, execution.tenant, execution.action, execution.defs, execution.event,
    execution.parent, execution.lane, execution.key, execution.mode, execution.status,
    execution.queued_at, null::timestamptz as due_at, execution.started_at, execution.ended_at,
    execution.input, execution.output, execution.error, execution.attempts
from engine.dead
join engine.execution using (tenant, id)
where dead.id = $2 and dead.tenant = $1 and dead.closed is null
