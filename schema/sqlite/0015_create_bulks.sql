-- Operations on many executions or dead letters: who asked for what, how far it is, and what became
-- of each item. The owner of the first partition writes the outcomes, a piece at a time.
create table engine_bulk (
    tenant integer not null,
    id blob not null,
    ended_at integer,
    record text not null,
    primary key (tenant, id)
) strict, without rowid;

create index engine_bulk_open on engine_bulk (tenant, id) where ended_at is null;

create table engine_bulk_item (
    bulk blob not null,
    number integer not null,
    target blob not null,
    handled_at integer,
    -- The new execution of what was done, or why nothing was.
    execution blob,
    refusal text,
    primary key (bulk, number)
) strict, without rowid;
