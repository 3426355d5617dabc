select
    asked.tenant,
    coalesce((
        select sum(usage_day.bytes)
        from engine.usage_day
        where usage_day.tenant = asked.tenant and usage_day.day >= asked.since
    ), 0)::int8 as stored_bytes,
    coalesce(backlog.waiting, 0) as waiting,
    backlog.counted_at
from unnest($1::int4[], $2::int4[]) as asked (tenant, since)
left join engine.backlog on backlog.tenant = asked.tenant
order by asked.tenant
