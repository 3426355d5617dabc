-- The index carries the type, so that events of other types are passed over without being read.
-- Data above ?5 bytes are left out; their size is known without reading them.
select
    event.id, event.tenant, event.type, event.source, event.external_id, event.accepted_at,
    iif(octet_length(event.data) <= ?5, event.data, null) as data,
    octet_length(event.data) as data_bytes, event.attributes
from (
    select id
    from engine_event indexed by engine_event_by_tenant
    where tenant = ?1 and id < ?2 and (?3 is null or type = ?3)
    order by id desc
    limit ?4
) as page
join engine_event as event on event.id = page.id
order by event.id desc
