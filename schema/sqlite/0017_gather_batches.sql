-- Executions that gather into one, which runs with all their events.

-- Batches that others may join. A row goes with the commit that closes its batch.
create table engine_batch (
    tenant integer not null,
    k blob not null,
    head blob not null,
    part integer not null,
    size integer not null,
    bytes integer not null,
    primary key (tenant, k)
) strict, without rowid;

-- What joined, as handlers see it. Kept as long as the head.
create table engine_member (
    head blob not null,
    -- From 1: the head is before them.
    place integer not null,
    tenant integer not null,
    action integer not null,
    event blob,
    body text not null,
    primary key (head, place)
) strict, without rowid;
create index engine_member_tenant on engine_member (tenant, head);
create index engine_member_event on engine_member (event) where event is not null;
