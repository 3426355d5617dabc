select id, tenant, type, source, external_id, accepted_at, data, attributes
from engine.event
where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by id desc
limit $3
