-- What ended lately is of grain 0: sums are made of what is older than an hour.
select
    tenant,
    sum(completed)::int8 as completed,
    sum(failed)::int8 as failed,
    sum(duration_ms)::int8 as duration_ms
from engine.stat
where grain in (0, 1, 2) and last_at >= $1
group by tenant
having sum(completed) + sum(failed) > 0
order by tenant
