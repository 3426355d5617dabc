-- The engine's tables, once for all tenants, with the tenant as a column.
--
-- Facts are appended and never changed: events, the work log, executions, statistics. Time cuts
-- them into partitions, which are dropped whole. What changes is small: later items, leases,
-- definitions. Statuses, lanes and modes are the numbers that the domain gives them. There are
-- no foreign keys between these tables: every write goes through functions that keep them whole.

create schema if not exists engine;

-- Days and six-hour segments are counted from the epoch, in UTC.
create function engine.day_of(at timestamptz) returns int4
    language sql immutable parallel safe
    return floor(extract(epoch from at) / 86400)::int4;

create function engine.segment_of(at timestamptz) returns int4
    language sql immutable parallel safe
    return floor(extract(epoch from at) / 21600)::int4;

-- The least UUIDv7 of an instant: where the rows of a day begin.
create function engine.id_floor(at timestamptz) returns uuid
    language sql immutable parallel safe
    return (lpad(to_hex((extract(epoch from at) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid;

-- A new UUIDv7: a random UUID whose first 48 bits are the time and whose version is 7.
create function engine.mint_id() returns uuid
    language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::int8) from 3)
                from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;


-- Nodes and leases ----------------------------------------------------------------------------

-- One start of one process. The number is never used again, so a lease needs no second token.
create table engine.node (
    id int4 generated always as identity primary key,
    name text not null,
    beats int8 not null default 0,
    alive bool not null default true,
    joined_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp()
) with (fillfactor = 20);
-- A name belongs to one living process.
create unique index node_name on engine.node (name) where alive;

-- Who owns a partition. Flushes lock these rows and never update them: a new version for each
-- flush would pile up behind any long snapshot. `low` is a loading hint, written seldom.
create table engine.lease (
    part int2 primary key,
    epoch int8 not null default 0,
    owner int4,
    clean bool not null default true,
    low int8 not null default 1,
    taken_at timestamptz
) with (fillfactor = 10);

-- The end of a partition's log. Locked, and updated only when the log enters a new segment:
-- `base` is the last number before segment `seg`. So the next number is found in one partition
-- of the table, and no clock that jumps can give a number twice.
create table engine.tail (
    part int2 primary key,
    seg int4 not null default 0,
    base int8 not null default 0
) with (fillfactor = 10);


-- Work ----------------------------------------------------------------------------------------

-- The log: "do this action once", in the order of a partition. Append-only; an item that is
-- finished has its row in `execution`, one that moved has it in `later`.
create table engine.work (
    seq int8 not null,
    defs int8 not null,
    queued_at timestamptz not null,
    seg int4 not null,
    tenant int4 not null,
    action int4 not null,
    part int2 not null,
    lane int2 not null,
    mode int2,
    depth int2 not null,
    id uuid not null,
    event uuid,
    parent uuid,
    key text,
    input text,
    primary key (part, seq, seg)
) partition by list (seg);
-- One item, and a tenant's items by time.
create index work_tenant on engine.work (tenant, id);

-- The only home of items that changes: retries, delays, items carried out of old segments. They
-- keep their place in the order, `ord`, and never go back into the log.
create table engine.later (
    id uuid primary key,
    ord int8 not null,
    due timestamptz not null,
    defs int8 not null,
    queued_at timestamptz not null,
    tenant int4 not null,
    action int4 not null,
    part int2 not null,
    why int2 not null,
    losses int2 not null,
    lane int2 not null,
    mode int2,
    depth int2 not null,
    hold bool not null,
    event uuid,
    parent uuid,
    key text,
    input text,
    attempts text not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index later_due on engine.later (part, due, id);
create index later_hold on engine.later (part, due, id) where hold;
create index later_tenant on engine.later (tenant, id);

-- Items that are written down before they start, after an unclean takeover.
create table engine.running (
    id uuid primary key,
    tenant int4 not null,
    part int2 not null,
    epoch int8 not null,
    started_at timestamptz not null default clock_timestamp()
);
create index running_part on engine.running (part);

-- Cancels that no finish has answered yet.
create table engine.control (
    id uuid primary key,
    tenant int4 not null,
    at timestamptz not null default clock_timestamp()
);


-- Facts ---------------------------------------------------------------------------------------

create table engine.event (
    id uuid not null,
    accepted_at timestamptz not null,
    tenant int4 not null,
    type text not null,
    source text not null,
    external_id text,
    data text not null,
    attributes text not null,
    -- Its executions: they are found by their own ids, wherever they live.
    executions uuid[] not null,
    primary key (id)
) partition by range (id);
create index event_tenant on engine.event (tenant, id);
create index event_type on engine.event (tenant, type, id);

-- Ends, each written once: the primary key refuses a second one, and the day partitions are by
-- id, so that it holds over midnight. An id has one tenant for good, so the tenant in front
-- costs nothing and lets this index answer a tenant's lists as well.
create table engine.execution (
    id uuid not null,
    epoch int8 not null,
    fin int8 not null,
    defs int8 not null,
    queued_at timestamptz not null,
    started_at timestamptz,
    ended_at timestamptz not null,
    tenant int4 not null,
    action int4 not null,
    node int4 not null,
    part int2 not null,
    lane int2 not null,
    mode int2,
    status int2 not null,
    attempt_count int2 not null,
    event uuid,
    parent uuid,
    key text,
    input text,
    output text,
    error text,
    attempts text not null,
    primary key (tenant, id)
) partition by range (id);
create index execution_action on engine.execution (tenant, action, id);
-- Whatever did not go well is rare and looked for often.
create index execution_trouble on engine.execution (tenant, id) where status <> 2;

-- The last number that each flush gave to an end: what the next owner of a partition goes on
-- from. All but the largest are swept away.
create table engine.fin (
    part int2 not null,
    fin int8 not null,
    primary key (part, fin)
);

-- Executions that failed for good and wait for a person. Closed rows keep who knew what.
create table engine.dead (
    id uuid primary key,
    died_at timestamptz not null,
    closed_at timestamptz,
    tenant int4 not null,
    action int4 not null,
    fingerprint text not null,
    -- Why nobody waits for a person any more: requeued, or discarded with a reason.
    closed text check (closed in ('requeued', 'discarded')),
    reason text
);
create index dead_open on engine.dead (tenant, id) where closed is null;
create index dead_fingerprint on engine.dead (tenant, fingerprint, id) where closed is null;

-- What two submissions have in common when they mean the same thing. Yesterday is probed too.
create table engine.dedupe (
    day int4 not null,
    tenant int4 not null,
    key bytea not null,
    -- What a repetition of an event or a job is answered with.
    subject uuid,
    -- Of a request: the hash of what it asked for, and what a repetition is answered with. The
    -- latter is filled in by the same flush.
    body bytea,
    subjects uuid[],
    primary key (day, tenant, key)
) partition by list (day);

-- Counts of ends. One row for each flush, tenant and action is of grain 0; after an hour they are
-- summed up by the minute (1), after two days by the hour (2).
create table engine.stat (
    last_at timestamptz not null,
    grain int2 not null default 0,
    tenant int4 not null,
    action int4 not null,
    completed int8 not null,
    failed int8 not null,
    cancelled int8 not null,
    retries int8 not null,
    duration_ms int8 not null
);
create index stat_action on engine.stat (tenant, action, last_at);
create index stat_age on engine.stat (grain, last_at);

create table engine.queue_metric (
    id int8 generated always as identity primary key,
    sampled_at timestamptz not null,
    pending int8 not null,
    processing int8 not null,
    completed int8 not null,
    failed int8 not null,
    avg_processing_time_ms float8 not null,
    throughput_per_minute float8 not null,
    error_rate_percentage float8 not null,
    active_workers int8 not null,
    tenant int4 not null,
    queue_name text not null
);
create index queue_metric_tenant on engine.queue_metric (tenant, sampled_at, id);

-- Events that users' own transactions leave for us. The only table that they touch.
create table engine.intake (
    id int8 generated always as identity primary key,
    tenant int4 not null,
    at timestamptz not null default clock_timestamp(),
    body text not null
);

-- Those of them that can never be accepted, with the reason. Whoever wrote them leaves them again,
-- corrected.
create table engine.intake_refused (
    id int8 primary key,
    tenant int4 not null,
    at timestamptz not null,
    refused_at timestamptz not null default clock_timestamp(),
    body text not null,
    reason text not null
);
create index intake_refused_tenant on engine.intake_refused (tenant, id);


-- Definitions ---------------------------------------------------------------------------------

-- `defs_version` counts every change of the tenant's definitions; a flush that was matched with
-- an older one is refused.
create table engine.tenant (
    id int4 generated always as identity primary key,
    uuid uuid not null constraint tenant_uuid unique,
    slug text not null constraint tenant_slug unique,
    name text not null,
    defs_version int8 not null default 0,
    created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- The platform's own tenant is number 1.
insert into engine.tenant (uuid, slug, name)
values ('00000000-0000-0000-0000-000000000000', 'admin', 'Platform');

-- The present state of each action. `spec` is kept byte for byte. Deleted rows stay: their
-- numbers are never used again, and executions point at them.
create table engine.action (
    id int4 generated always as identity primary key,
    tenant int4 not null,
    uuid uuid not null,
    name text not null,
    spec json not null,
    health json not null,
    version int8 not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted bool not null default false,
    constraint action_uuid unique (tenant, uuid)
);
create unique index action_name on engine.action (tenant, name) where not deleted;
create index action_change on engine.action (tenant, version);

-- Every state that an action ever had: executions run with the one that they were matched with.
create table engine.action_version (
    action int4 not null,
    version int8 not null,
    tenant int4 not null,
    name text not null,
    spec json not null,
    health json not null,
    updated_at timestamptz not null,
    deleted bool not null,
    primary key (action, version)
);
create index action_version_name on engine.action_version (tenant, name, version);

-- Callers may choose ids, so each tenant has its own.
create table engine.subscription (
    id uuid not null,
    tenant int4 not null,
    action int4 not null,
    spec json not null,
    version int8 not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted bool not null default false,
    primary key (tenant, id)
);
create index subscription_change on engine.subscription (tenant, version);
create index subscription_action on engine.subscription (action) where not deleted;
