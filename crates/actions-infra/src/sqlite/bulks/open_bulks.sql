select id, record
from engine_bulk
where ended_at is null and (?1 is null or tenant = ?1)
order by id
