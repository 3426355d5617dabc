-- Limits that hold over all nodes.

-- What each node holds of a limit, and could use. Rows of dead nodes count for nothing.
create table engine_share (
    -- 0: a tenant, 1: an action.
    kind integer not null,
    id integer not null,
    node integer not null,
    amount integer not null,
    want integer not null,
    -- When it last got something after it had nothing.
    took_at integer not null,
    primary key (kind, id, node)
) strict, without rowid;

-- The ledger of rates: when each window will have paid for what was drawn.
create table engine_rate (
    kind integer not null,
    id integer not null,
    minute integer,
    hour integer,
    primary key (kind, id)
) strict, without rowid;

-- What operators have set for a tenant beside its definitions: limits, weight, pauses.
alter table engine_tenant add column controls text not null default '{}';
