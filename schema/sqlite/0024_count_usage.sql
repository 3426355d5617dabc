-- What tenants send, summed up by day, and how much of it waits: quotas are compared with it. The
-- node adds up in memory and writes every few seconds, so nothing of it is part of a flush.
create table engine_usage_day (
    tenant integer not null,
    -- Days since 1970, in UTC.
    day integer not null,
    events integer not null,
    bytes integer not null,
    executions integer not null,
    primary key (tenant, day)
) strict, without rowid;

-- Executions that had not ended when they were counted, of tenants that may have so many.
create table engine_backlog (
    tenant integer primary key,
    waiting integer not null,
    counted_at integer not null
) strict;
