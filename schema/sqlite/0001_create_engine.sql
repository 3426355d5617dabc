-- The engine's tables in SQLite. They mirror PostgreSQL's schema `engine`, without partitions:
-- a prefix keeps them apart from the tables of a service that shares the file.
--
-- Times are microseconds since 1970, in UTC. Ids are the 16 bytes of a UUID. Statuses, lanes,
-- modes and reasons are the numbers that the domain gives them. JSON is text, as it was sent.
-- There are no foreign keys between these tables: `doctor` checks them.

-- Who owns which partition. One row for each partition, for good.
create table engine_lease (
    part integer primary key,
    epoch integer not null default 0,
    -- The node that took it last. It may be dead; null when it was given back.
    owner integer,
    -- Given back after everything started in it had ended.
    clean integer not null default 1,
    -- Where the log may be read from: everything before is finished or moved.
    low integer not null default 1
) strict;

-- Where each partition's numbers stand. The log may be empty, so they cannot be derived.
create table engine_tail (
    part integer primary key,
    -- The number of the next log entry.
    next integer not null default 1,
    -- The number of the last end.
    fin integer not null default 0
) strict;

-- The log: what has to be done, in the order of its partition. Rows are never changed. An item
-- lives here until it is in engine_later or in engine_execution; trimming removes what was left.
create table engine_work (
    part integer not null,
    seq integer not null,
    id blob not null,
    tenant integer not null,
    lane integer not null,
    action integer not null,
    defs integer not null,
    akey text,
    amode integer not null,
    event blob,
    parent blob,
    queued_at integer not null,
    depth integer not null,
    -- Null: the event's data.
    input text,
    primary key (part, seq)
) strict, without rowid;

create unique index engine_work_by_id on engine_work (tenant, id);

-- Items that wait for a time, or that waited for one: the only home that changes.
create table engine_later (
    id blob primary key,
    part integer not null,
    -- Its place in the partition's order, which it keeps over retries.
    ord integer not null,
    due integer not null,
    why integer not null,
    -- Keeps its key while it waits.
    hold integer not null,
    losses integer not null,
    tenant integer not null,
    lane integer not null,
    action integer not null,
    defs integer not null,
    akey text,
    amode integer not null,
    event blob,
    parent blob,
    queued_at integer not null,
    depth integer not null,
    input text,
    attempts text not null
) strict, without rowid;

create index engine_later_by_due on engine_later (part, hold, due);
-- For lists: newest first inside a tenant. The key is appended by SQLite.
create index engine_later_by_tenant on engine_later (tenant);

-- What is finished, written once: the primary key refuses a second end. One tree serves as
-- fence, look-up, list and anti-join.
create table engine_execution (
    tenant integer not null,
    id blob not null,
    part integer not null,
    epoch integer not null,
    -- Gap-free number of this end in its partition.
    fin integer not null,
    lane integer not null,
    action integer not null,
    defs integer not null,
    akey text,
    amode integer not null,
    event blob,
    parent blob,
    depth integer not null,
    status integer not null,
    queued_at integer not null,
    started_at integer,
    ended_at integer not null,
    node integer,
    input text,
    output text,
    error text,
    attempts text not null,
    -- Why somebody decided to forget the dead letter.
    discarded text,
    primary key (tenant, id)
) strict, without rowid;

create index engine_execution_by_action on engine_execution (action, id);
create index engine_execution_by_end on engine_execution (tenant, ended_at);

-- Marks: written before an item is started, while the node does not trust its predecessor.
create table engine_running (
    id blob primary key,
    tenant integer not null,
    part integer not null,
    marked_at integer not null
) strict, without rowid;

-- Requests to cancel that no end has answered yet.
create table engine_control (
    id blob primary key,
    tenant integer not null,
    asked_at integer not null
) strict, without rowid;

-- Events that users' own transactions left for us.
create table engine_intake (
    id integer primary key autoincrement,
    tenant integer not null,
    body text not null
) strict;

-- Those of them that can never be accepted, with the reason. Whoever wrote them leaves them again,
-- corrected.
create table engine_intake_refused (
    id integer primary key,
    tenant integer not null,
    body text not null,
    reason text not null,
    refused_at integer not null
) strict;

create index engine_intake_refused_by_tenant on engine_intake_refused (tenant, id);

-- What two submissions have in common when they mean the same. The day leads, so that old days
-- are removed from one end; a look-up asks for two of them.
create table engine_dedupe (
    day integer not null,
    tenant integer not null,
    k blob not null,
    -- Of a request: the hash of what it asked for.
    body blob,
    -- What a repetition is answered with, one id after the other.
    subjects blob not null,
    at integer not null,
    primary key (day, tenant, k)
) strict, without rowid;

create table engine_event (
    id blob primary key,
    tenant integer not null,
    type text not null,
    source text not null,
    external_id text,
    accepted_at integer not null,
    data text not null,
    attributes text not null,
    -- The ids of its executions, one after the other.
    executions blob not null
) strict, without rowid;

-- Lists by type read this alone, so that a rare type is found without touching the events.
create index engine_event_by_tenant on engine_event (tenant, id, type);

-- Executions that failed for good and wait for a person.
create table engine_dead (
    tenant integer not null,
    id blob not null,
    fingerprint text not null,
    action integer not null,
    died_at integer not null,
    primary key (tenant, id)
) strict, without rowid;

create index engine_dead_by_fingerprint on engine_dead (tenant, fingerprint, id);

-- One start of one process. Numbers are never used again.
create table engine_node (
    id integer primary key autoincrement,
    name text not null,
    beats integer not null default 0,
    alive integer not null default 1,
    joined_at integer not null
) strict;

create table engine_tenant (
    id integer primary key autoincrement,
    uuid blob not null unique,
    slug text not null unique,
    name text not null,
    -- Counts every change of the tenant's definitions.
    defs_version integer not null default 0,
    created_at integer not null
) strict;

create table engine_action (
    id integer primary key autoincrement,
    tenant integer not null,
    uuid blob not null,
    name text not null,
    spec text not null,
    health text not null,
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    deleted integer not null default 0
) strict;

create unique index engine_action_by_name on engine_action (tenant, name) where deleted = 0;
-- Old versions are found by name, also after the action was deleted.
create index engine_action_by_any_name on engine_action (tenant, name);
create index engine_action_by_version on engine_action (tenant, version);

-- Every state that an action ever had. Executions run with the one of their event's time.
create table engine_action_version (
    action integer not null,
    version integer not null,
    spec text not null,
    health text not null,
    updated_at integer not null,
    deleted integer not null,
    primary key (action, version)
) strict, without rowid;

-- Callers may choose ids, so each tenant has its own.
create table engine_subscription (
    id blob not null,
    tenant integer not null,
    action integer not null,
    spec text not null,
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    deleted integer not null default 0,
    primary key (tenant, id)
) strict, without rowid;

create index engine_subscription_by_version on engine_subscription (tenant, version);
create index engine_subscription_by_action on engine_subscription (action) where deleted = 0;

-- Exact counts of all ends, kept over retention.
create table engine_stat (
    action integer primary key,
    tenant integer not null,
    completed integer not null,
    failed integer not null,
    cancelled integer not null,
    retries integer not null,
    duration_ms integer not null,
    last_at integer not null
) strict;

create index engine_stat_by_tenant on engine_stat (tenant);

create table engine_queue_metrics (
    tenant integer not null,
    sampled_at integer not null,
    queue_name text not null,
    pending integer not null,
    processing integer not null,
    completed integer not null,
    failed integer not null,
    avg_processing_time_ms real not null,
    throughput_per_minute real not null,
    error_rate_percentage real not null,
    active_workers integer not null,
    primary key (tenant, sampled_at, queue_name)
) strict, without rowid;
