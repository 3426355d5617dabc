-- Whoever asks at the same moment skips what is locked here, and takes the next ones.
with free as materialized (
    select execution
    from engine.pull
    where tenant = $1 and queue = any ($2) and answer is null
      and wanted_until > clock_timestamp()
      and (claimed_until is null or claimed_until <= clock_timestamp())
    order by put_at, execution
    limit $3
    for update skip locked
)
update engine.pull
set claim = $4, worker = $5, lease = $6, words = words + 1,
    claimed_until = clock_timestamp() + $6 * interval '1 microsecond'
from free
where pull.execution = free.execution
returning pull.execution, pull.put_at, pull.queue, pull.body, pull.checkpoint
