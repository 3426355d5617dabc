-- People who log in with a name and a password, and what they get for it. Of a password a hash is
-- kept that is slow to guess (Argon2id), of a session's token its digest.
create table engine.account (
    created_at timestamptz not null,
    password_set_at timestamptz not null,
    disabled_at timestamptz,
    last_login_at timestamptz,
    -- Grows with each change but a login: what was judged by an older one does not count.
    revision int8 not null default 0,
    tenant int4 not null,
    id uuid primary key,
    name text collate "C" not null,
    role text not null,
    password text not null,
    created_by text not null
) with (fillfactor = 70);
create unique index account_name on engine.account (tenant, name);

-- No reference to the account: a session that ended with it is told of until every node knows.
create table engine.session (
    created_at timestamptz not null,
    expires_at timestamptz not null,
    last_used_at timestamptz not null,
    ended_at timestamptz,
    -- Of `engine.api_key_version`, when it was ended.
    version int8 not null default 0,
    tenant int4 not null,
    id uuid primary key,
    account uuid not null,
    lookup text collate "C" not null,
    digest bytea not null
) with (fillfactor = 70);
create unique index session_lookup on engine.session (lookup);
create index session_tenant on engine.session (tenant, account, created_at);
create index session_changed on engine.session (version) where version > 0;

-- Nobody who asks for a tenant reads them so far; the rule holds for whoever will.
select engine.guard_v1('account');
select engine.guard_v1('session');
