select id, tenant, body, refused_at, reason
from engine_intake_refused
where tenant = ?1
order by id desc
limit ?2
