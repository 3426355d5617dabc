select
    dead.fingerprint, dead.died_at,
    execution.id, execution.tenant, execution.action, execution.defs, execution.event,
    execution.parent, execution.lane, execution.key, execution.mode, execution.status,
    execution.queued_at, null::timestamptz as due_at, execution.started_at, execution.ended_at,
    execution.input, execution.output, execution.error, execution.attempts
from engine.dead
join engine.execution using (tenant, id)
where dead.tenant = $1 and dead.closed is null
  and dead.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and ($4::text is null or dead.fingerprint = $4)
  and ($5::int4 is null or dead.action = $5)
order by dead.id desc
limit $3
