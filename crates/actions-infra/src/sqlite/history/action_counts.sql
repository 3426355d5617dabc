-- The exact counts that every commit keeps.
select action, completed, failed, cancelled, retries, duration_ms, last_at
from engine_stat
where tenant = ?1 and (?2 is null or action = ?2)
order by action
