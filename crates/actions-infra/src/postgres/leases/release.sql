-- The rows are locked in their order before they change.
with held as (
    select lease.part
    from engine.lease
    join unnest($2::int2[], $3::int8[]) as wanted (part, epoch) using (part, epoch)
    where lease.owner = $1
    order by lease.part
    for no key update of lease
)
update engine.lease
set owner = null, clean = true
from held
where lease.part = held.part
