select id, tenant, type, source, external_id, accepted_at, data, attributes
from engine.event
where id = $2 and tenant = $1
