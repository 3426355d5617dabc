-- People who log in with a name and a password, and what they get for it. Of a password a hash is
-- kept that is slow to guess (Argon2id), of a session's token its digest.
create table engine_account (
    id blob primary key,
    tenant integer not null,
    name text not null,
    role text not null,
    password text not null,
    created_by text not null,
    created_at integer not null,
    password_set_at integer not null,
    disabled_at integer,
    last_login_at integer,
    -- Grows with each change but a login: what was judged by an older one does not count.
    revision integer not null default 0
) strict, without rowid;
create unique index engine_account_name on engine_account (tenant, name);

-- No reference to the account: a session that ended with it is told of until every node knows.
create table engine_session (
    id blob primary key,
    tenant integer not null,
    account blob not null,
    lookup text not null,
    digest blob not null,
    created_at integer not null,
    expires_at integer not null,
    last_used_at integer not null,
    ended_at integer,
    -- Of `engine_api_key_version`, when it was ended.
    version integer not null default 0
) strict, without rowid;
create unique index engine_session_lookup on engine_session (lookup);
create index engine_session_tenant on engine_session (tenant, account, created_at);
create index engine_session_changed on engine_session (version) where version > 0;

-- As with the keys of a tenant that goes.
alter table engine_tenant_deletion add column sessions blob not null default x'';
