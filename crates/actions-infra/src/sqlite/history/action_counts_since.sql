-- Counted anew: what ended since then, by the index on the end. Statuses: 2 completed, 3 failed,
-- 5 cancelled, 6 timeout.
select
    action,
    count(*) filter (where status = 2) as completed,
    count(*) filter (where status in (3, 6)) as failed,
    count(*) filter (where status = 5) as cancelled,
    coalesce(sum(max(json_array_length(attempts) - 1, 0)), 0) as retries,
    coalesce(sum((ended_at - started_at) / 1000), 0) as duration_ms,
    max(ended_at) as last_at
from engine_execution indexed by engine_execution_by_end
where tenant = ?1 and ended_at >= ?3 and (?2 is null or action = ?2)
group by action
order by action
