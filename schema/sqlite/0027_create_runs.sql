-- Runs of workflows. A run is its history; the other tables say what it was told and has not taken,
-- what it waits for, and what lists show. The owner of its partition alone takes and appends.

create table engine_run (
    tenant integer not null,
    id blob not null,
    part integer not null,
    name text not null,
    -- The action that the workflow is, as of this version of the tenant's definitions.
    workflow integer not null,
    defs integer not null,
    -- Who waits for its end.
    parent blob,
    parent_part integer,
    parent_call integer,
    status integer not null,
    entry_count integer not null,
    started_at integer not null,
    updated_at integer not null,
    ended_at integer,
    error text,
    primary key (tenant, id)
) strict, without rowid;

create index engine_run_started on engine_run (tenant, started_at, id);
create index engine_run_ended on engine_run (tenant, ended_at) where ended_at is not null;

create table engine_run_entry (
    run blob not null,
    number integer not null,
    tenant integer not null,
    -- The execution that the entry made.
    execution blob,
    body text not null,
    primary key (run, number)
) strict, without rowid;

create index engine_run_entry_execution on engine_run_entry (execution) where execution is not null;

-- What runs were told. A row goes with the turn that takes it.
create table engine_run_inbox (
    place integer primary key autoincrement,
    part integer not null,
    tenant integer not null,
    run blob not null,
    body text not null
) strict;

create index engine_run_inbox_part on engine_run_inbox (part, place);

create table engine_run_timer (
    run blob not null,
    call integer not null,
    part integer not null,
    tenant integer not null,
    due_at integer not null,
    primary key (run, call)
) strict, without rowid;

create index engine_run_timer_due on engine_run_timer (part, due_at);
