-- Secrets that definitions name. No row holds a plain text: each version is sealed with a data key
-- of its own, which a master key of the processes has wrapped.
create table engine_secret (
    id blob primary key,
    tenant integer not null,
    name text not null,
    created_at integer not null,
    created_by text not null,
    unique (tenant, name)
) strict, without rowid;

create table engine_secret_version (
    secret blob not null references engine_secret on delete cascade,
    number integer not null,
    created_at integer not null,
    created_by text not null,
    -- Of the one before the current one: it is not used any more from then on.
    ends_at integer,
    key_id text not null,
    wrapped blob not null,
    text blob not null,
    primary key (secret, number)
) strict, without rowid;
create index engine_secret_version_key on engine_secret_version (key_id, secret, number);

-- Nodes that use secrets ask for it every second.
create table engine_secrets_version (
    version integer not null
) strict;
insert into engine_secrets_version (version) values (0);
