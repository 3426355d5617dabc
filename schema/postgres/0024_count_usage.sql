-- What tenants send, summed up by day, and how much of it waits: quotas are compared with it. Nodes
-- add up in memory and write every few seconds, so nothing of it is part of a flush.
create table engine.usage_day (
    events int8 not null,
    bytes int8 not null,
    executions int8 not null,
    tenant int4 not null,
    -- Days since 1970, in UTC.
    day int4 not null,
    primary key (tenant, day)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Executions that had not ended when somebody counted them, of tenants that may have so many.
create table engine.backlog (
    waiting int8 not null,
    counted_at timestamptz not null,
    tenant int4 primary key
) with (fillfactor = 50);

select engine.guard_v1('usage_day');
select engine.guard_v1('backlog');
grant select on engine.usage_day to actions_tenant;
