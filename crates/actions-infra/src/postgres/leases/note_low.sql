with held as (
    select lease.part, wanted.low
    from engine.lease
    join unnest($2::int2[], $3::int8[], $4::int8[]) as wanted (part, epoch, low)
        using (part, epoch)
    where lease.owner = $1 and lease.low < wanted.low
    order by lease.part
    for no key update of lease
)
update engine.lease
set low = held.low
from held
where lease.part = held.part
