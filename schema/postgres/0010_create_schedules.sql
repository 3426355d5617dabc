-- What happens at certain times, and how far that is. Only the owner of the first partition
-- writes the progress, and its write is refused by a change of the specification.
create table engine.schedule (
    handled_until timestamptz not null,
    last_at timestamptz,
    version int8 not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    tenant int4 not null,
    last_execution uuid,
    name text not null,
    spec json not null,
    last_error text,
    primary key (tenant, name)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
