-- Payloads above $6 bytes stay where they are; their size is known without reading them.
select
    dead.fingerprint, dead.died_at,
    execution.id, execution.tenant, execution.action, execution.defs, execution.event,
    execution.parent, execution.lane, execution.key, execution.mode, execution.status,
    execution.queued_at, null::timestamptz as due_at, execution.started_at, execution.ended_at,
    execution.error, execution.attempts,
    case when octet_length(execution.input) <= $6 then execution.input end as input,
    octet_length(execution.input) as input_bytes,
    case when octet_length(execution.output) <= $6 then execution.output end as output,
    octet_length(execution.output) as output_bytes
from engine.dead
join engine.execution using (tenant, id)
where dead.tenant = $1 and dead.closed is null
  and dead.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and ($4::text is null or dead.fingerprint = $4)
  and ($5::int4 is null or dead.action = $5)
order by dead.id desc
limit $3
