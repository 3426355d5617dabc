select id, record
from engine_bulk
where tenant = ?1 and (?2 is null or id < ?2)
order by id desc
limit ?3
