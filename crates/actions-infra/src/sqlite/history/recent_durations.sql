-- What never started has no duration.
select (ended_at - started_at) / 1000
from engine_execution indexed by engine_execution_by_action
where action = ?2 and tenant = ?1 and started_at is not null
order by id desc
limit ?3
