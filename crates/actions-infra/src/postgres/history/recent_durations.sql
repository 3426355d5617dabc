select floor(extract(epoch from ended_at - started_at) * 1000)::int8
from engine.execution
where tenant = $1 and action = $2 and started_at is not null
order by id desc
limit $3
