-- The index carries the type, so that events of other types are passed over without being read.
select
    event.id, event.tenant, event.type, event.source, event.external_id, event.accepted_at,
    event.data, event.attributes
from (
    select id
    from engine_event indexed by engine_event_by_tenant
    where tenant = ?1 and id < ?2 and (?3 is null or type = ?3)
    order by id desc
    limit ?4
) as page
join engine_event as event on event.id = page.id
order by event.id desc
