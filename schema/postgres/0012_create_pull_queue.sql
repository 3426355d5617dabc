-- Tasks for workers outside of the program. Disposable: the attempt that waits for a task visits
-- its row once in a while, and puts it in again when it is gone.
create table engine.pull (
    execution uuid primary key,
    claim uuid,
    put_at timestamptz not null default clock_timestamp(),
    -- Until then the attempt waits, unless it comes again.
    wanted_until timestamptz not null,
    claimed_until timestamptz,
    -- How long the worker may say nothing, in microseconds.
    lease int8,
    progress float8,
    tenant int4 not null,
    attempt int4 not null,
    words int4 not null default 0,
    queue text not null,
    worker text,
    note text,
    body text not null,
    checkpoint text,
    answer text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index pull_free on engine.pull (tenant, queue, put_at) where answer is null;
create index pull_unwanted on engine.pull (put_at);
