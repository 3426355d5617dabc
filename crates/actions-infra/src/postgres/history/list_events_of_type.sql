-- Data above $5 bytes stay where they are; their size is known without reading them.
select
    id, tenant, type, source, external_id, accepted_at, attributes,
    case when octet_length(data) <= $5 then data end as data,
    octet_length(data) as data_bytes
from engine.event
where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and type = $4
order by id desc
limit $3
