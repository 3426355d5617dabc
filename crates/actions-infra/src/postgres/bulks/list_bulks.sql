select id, record
from engine.bulk
where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by id desc
limit $3
