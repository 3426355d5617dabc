-- Secrets that definitions name. No row holds a plain text: each version is sealed with a data key
-- of its own, which a master key of the processes has wrapped.
create table engine.secret (
    created_at timestamptz not null,
    tenant int4 not null,
    id uuid primary key,
    name text collate "C" not null,
    created_by text not null,
    unique (tenant, name)
);

create table engine.secret_version (
    created_at timestamptz not null,
    -- Of the one before the current one: it is not used any more from then on.
    ends_at timestamptz,
    number int8 not null,
    secret uuid not null references engine.secret on delete cascade,
    key_id text collate "C" not null,
    created_by text not null,
    wrapped bytea not null,
    text bytea not null,
    primary key (secret, number)
);
create index secret_version_key on engine.secret_version (key_id, secret, number);

-- Nodes that use secrets ask for it every second. Its row is updated with every change, so these
-- follow one another and nobody sees a version before what belongs to it.
create table engine.secrets_version (
    version int8 not null,
    only_one bool primary key default true check (only_one)
) with (fillfactor = 10);
insert into engine.secrets_version (version) values (0);
