-- What callers prove themselves with. A row is never the secret: of a token only the digest is
-- kept, and a lookup to find that by.
create table engine_api_key (
    id blob primary key,
    tenant integer not null,
    name text not null,
    role text not null,
    created_by text not null,
    created_at integer not null,
    expires_at integer,
    last_used_at integer,
    revoked_at integer,
    others_end_at integer,
    lookup text not null,
    -- Of `engine_api_key_version`, when it was last revoked or rotated.
    version integer not null default 0
) strict, without rowid;
create index engine_api_key_tenant on engine_api_key (tenant, id);
create index engine_api_key_changed on engine_api_key (version) where version > 0;

create table engine_api_key_token (
    lookup text primary key,
    api_key blob not null references engine_api_key on delete cascade,
    digest blob not null,
    created_at integer not null,
    ends_at integer
) strict, without rowid;
create index engine_api_key_token_key on engine_api_key_token (api_key);

-- Nodes ask for it all the time.
create table engine_api_key_version (
    version integer not null
) strict;
insert into engine_api_key_version (version) values (0);
