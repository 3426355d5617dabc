-- Dead letters, newest first.
select
    dead.fingerprint, dead.died_at,
    execution.id, execution.tenant, execution.lane, execution.action, execution.defs,
    execution.akey, execution.amode, execution.event, execution.parent, execution.queued_at,
    execution.input, execution.status, execution.started_at, execution.ended_at,
    null as due, execution.output, execution.error, execution.attempts
from engine_dead as dead
join engine_execution as execution
    on execution.tenant = dead.tenant and execution.id = dead.id
where dead.tenant = ?1 and dead.id < ?2 and (?3 is null or dead.action = ?3)
order by dead.id desc
limit ?4
