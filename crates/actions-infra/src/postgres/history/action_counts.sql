select
    action,
    sum(completed)::int8 as completed,
    sum(failed)::int8 as failed,
    sum(cancelled)::int8 as cancelled,
    sum(retries)::int8 as retries,
    sum(duration_ms)::int8 as duration_ms,
    max(last_at) as last_at
from engine.stat
where tenant = $1
  and ($2::int4 is null or action = $2)
  and ($3::timestamptz is null or last_at >= $3)
group by action
order by action
