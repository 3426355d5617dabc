-- What happens at certain times, and how far that is. Only the owner of the first partition
-- writes the progress, and its write is refused by a change of the specification.
create table engine_schedule (
    tenant integer not null,
    name text not null,
    spec text not null,
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    handled_until integer not null,
    last_at integer,
    last_execution blob,
    last_error text,
    primary key (tenant, name)
) strict, without rowid;
