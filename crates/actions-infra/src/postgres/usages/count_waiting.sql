-- What has not ended is in the log or among the later items, and not among the ends. Each row of the
-- log probes the day of its own id only. Rows are locked after all has been counted.
with counted as materialized (
    select
        asked.tenant,
        (
            select count(*)
            from engine.work
            where work.tenant = asked.tenant
              and (select true from engine.execution
                   where execution.tenant = work.tenant and execution.id = work.id) is null
              and (select true from engine.later where later.id = work.id) is null
        ) + (
            select count(*)
            from engine.later
            where later.tenant = asked.tenant
              and (select true from engine.execution
                   where execution.tenant = later.tenant and execution.id = later.id) is null
        ) as waiting
    from unnest($1::int4[]) as asked (tenant)
)
insert into engine.backlog as known (tenant, waiting, counted_at)
select tenant, waiting, clock_timestamp()
from counted
order by tenant
on conflict (tenant) do update
set waiting = excluded.waiting, counted_at = excluded.counted_at
returning tenant, waiting
