select id, tenant, type, source, external_id, accepted_at, data, attributes
from engine.event
where id = any ($1)
order by id
