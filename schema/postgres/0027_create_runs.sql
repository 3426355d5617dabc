-- Runs of workflows. A run is its history; the other tables say what it was told and has not taken,
-- what it waits for, and what lists show. The owner of its partition alone takes and appends.

create table engine.run (
    defs int8 not null,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    ended_at timestamptz,
    tenant int4 not null,
    -- The action that the workflow is, as of the version `defs` of the tenant's definitions.
    workflow int4 not null,
    entry_count int4 not null,
    parent_call int4,
    part int2 not null,
    parent_part int2,
    status int2 not null,
    id uuid not null,
    -- Who waits for its end.
    parent uuid,
    name text not null,
    error text,
    primary key (tenant, id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index run_started on engine.run (tenant, started_at, id);
create index run_ended on engine.run (ended_at) where ended_at is not null;

create table engine.run_entry (
    tenant int4 not null,
    number int4 not null,
    run uuid not null,
    -- The execution that the entry made.
    execution uuid,
    body text not null,
    primary key (run, number)
);
create index run_entry_execution on engine.run_entry (execution) where execution is not null;

-- What runs were told. A row goes with the turn that takes it. Nobody counts on the order in which
-- rows of different writers become visible: what comes late is found by the next look.
create table engine.run_inbox (
    place int8 generated always as identity primary key,
    tenant int4 not null,
    part int2 not null,
    run uuid not null,
    body text not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index run_inbox_part on engine.run_inbox (part, place);

create table engine.run_timer (
    due_at timestamptz not null,
    tenant int4 not null,
    call int4 not null,
    part int2 not null,
    run uuid not null,
    primary key (run, call)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index run_timer_due on engine.run_timer (part, due_at);

select engine.guard_v1(relation)
from unnest(array['run', 'run_entry', 'run_inbox', 'run_timer']) as given (relation);

grant select on engine.run, engine.run_entry to actions_tenant;

-- Forgets a part of the runs that ended before `oldest`, of one tenant or of all, the oldest first, each
-- after its journal, and answers how many rows that were.
create function engine.drop_old_runs_v1(oldest timestamptz, given_tenant int4) returns int8
    language plpgsql
as $$
declare
    tenants int4[];
    runs uuid[];
    entries int8;
    gone int8;
begin
    select array_agg(old.tenant), array_agg(old.id)
    from (
        select tenant, id
        from engine.run
        where ended_at < oldest and (given_tenant is null or tenant = given_tenant)
        order by ended_at
        limit 100
        for update skip locked
    ) as old
    into tenants, runs;
    delete from engine.run_entry
    where ctid = any (array(
        select ctid from engine.run_entry where run = any (runs) limit 5000));
    get diagnostics entries = row_count;
    delete from engine.run
    using unnest(tenants, runs) as old (tenant, id)
    where run.tenant = old.tenant and run.id = old.id
      and not exists (select from engine.run_entry where run_entry.run = old.id);
    get diagnostics gone = row_count;
    return entries + gone;
end
$$;
