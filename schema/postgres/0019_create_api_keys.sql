-- What callers prove themselves with. A row is never the secret: of a token only the digest is
-- kept, and a lookup to find that by.
create table engine.api_key (
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    others_end_at timestamptz,
    -- Of `engine.api_key_version`, when it was last revoked or rotated.
    version int8 not null default 0,
    tenant int4 not null,
    id uuid primary key,
    name text not null,
    role text not null,
    created_by text not null,
    lookup text collate "C" not null
) with (fillfactor = 70);
create index api_key_tenant on engine.api_key (tenant, id);
create index api_key_changed on engine.api_key (version) where version > 0;

create table engine.api_key_token (
    created_at timestamptz not null,
    ends_at timestamptz,
    api_key uuid not null references engine.api_key on delete cascade,
    lookup text collate "C" primary key,
    digest bytea not null
);
create index api_key_token_key on engine.api_key_token (api_key);

-- Nodes ask for it all the time. Its row is updated with every revocation and rotation, so these
-- follow one another and nobody sees a version before what belongs to it.
create table engine.api_key_version (
    version int8 not null,
    only_one bool primary key default true check (only_one)
) with (fillfactor = 10);
insert into engine.api_key_version (version) values (0);
