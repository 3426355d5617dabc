-- What runs of these partitions were told, in order. Each partition is a range of its own in the index,
-- and few have anything.
select told.place, told.tenant, told.part, told.run, told.body
from unnest($1::int2[]) as own (part)
cross join lateral (
    select place, tenant, run_inbox.part, run, body
    from engine.run_inbox
    where run_inbox.part = own.part and run <> all ($3::uuid[])
    order by place
    limit $2
) as told
order by told.place
limit $2
