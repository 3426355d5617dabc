-- In one order, so that nodes that write at the same moment wait for one another in it.
insert into engine.usage_day as known (tenant, day, events, bytes, executions)
select *
from unnest($1::int4[], $2::int4[], $3::int8[], $4::int8[], $5::int8[])
    as added (tenant, day, events, bytes, executions)
-- What a node has added up of one that is gone.
where not exists (
    select from engine.tenant_deletion where tenant_deletion.id = added.tenant)
order by added.tenant, added.day
on conflict (tenant, day) do update
set events = known.events + excluded.events,
    bytes = known.bytes + excluded.bytes,
    executions = known.executions + excluded.executions
