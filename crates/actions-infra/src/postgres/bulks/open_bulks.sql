select id, record
from engine.bulk
where ended_at is null and ($1::int4 is null or tenant = $1)
order by id
