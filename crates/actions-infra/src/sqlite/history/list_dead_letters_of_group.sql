-- Dead letters with one cause, newest first, by the index on the cause.
-- Payloads above ?6 bytes are left out; their size is known without reading them.
select
    dead.fingerprint, dead.died_at,
    execution.id, execution.tenant, execution.lane, execution.action, execution.defs,
    execution.akey, execution.amode, execution.event, execution.parent, execution.queued_at,
    iif(octet_length(execution.input) <= ?6, execution.input, null) as input, octet_length(execution.input) as input_bytes,
    execution.status, execution.started_at, execution.ended_at, null as due,
    iif(octet_length(execution.output) <= ?6, execution.output, null) as output, octet_length(execution.output) as output_bytes,
    execution.error, execution.attempts
from engine_dead as dead
join engine_execution as execution
    on execution.tenant = dead.tenant and execution.id = dead.id
where dead.tenant = ?1
    and dead.fingerprint = ?5
    and dead.id < ?2
    and (?3 is null or dead.action = ?3)
order by dead.id desc
limit ?4
