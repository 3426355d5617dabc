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

-- What a tenant's callers see of them: neither the hashes of passwords nor the digests of tokens.
select engine.guard_v1('account');
select engine.guard_v1('session');
grant select (
    created_at, password_set_at, disabled_at, last_login_at, revision, tenant, id, name, role,
    created_by
) on engine.account to actions_tenant;
grant select (
    created_at, expires_at, last_used_at, ended_at, version, tenant, id, account, lookup
) on engine.session to actions_tenant;

-- As with the keys of a tenant that goes.
alter table engine.tenant_deletion add column sessions uuid[] not null default '{}';

-- As before, and its people are logged out.
create or replace function engine.begin_deletion_v1(given_tenant int4, given_record text)
    returns void
    language plpgsql
as $$
declare
    next_version int8;
begin
    update engine.api_key_version set version = version + 1 returning version into next_version;
    insert into engine.tenant_deletion (id, key_version, keys, sessions, slug, record)
    select
        tenant.id, next_version,
        array(select api_key.id from engine.api_key where api_key.tenant = tenant.id),
        array(select session.id from engine.session where session.tenant = tenant.id),
        tenant.slug, given_record
    from engine.tenant
    where tenant.id = given_tenant;
    update engine.api_key
    set revoked_at = clock_timestamp(), version = next_version
    where tenant = given_tenant and revoked_at is null;
    perform from engine.session
    where tenant = given_tenant and ended_at is null
    order by id
    for no key update;
    update engine.session
    set ended_at = clock_timestamp(), version = next_version
    where tenant = given_tenant and ended_at is null;
    delete from engine.tenant where id = given_tenant;
end
$$;
