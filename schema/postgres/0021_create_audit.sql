-- Who did what. Rows are only ever added, each with a hash that takes in the one before; the
-- triggers keep mistakes away, the hashes tell of intent.
create table engine.audit (
    seq int8 not null,
    at timestamptz not null,
    tenant int4 not null,
    actor text not null,
    actor_kind text not null,
    actor_id text,
    role text not null,
    ingress text not null,
    request_id text not null,
    act text not null,
    subject text not null,
    -- Texts, because their bytes are hashed.
    before text,
    after text,
    reason text,
    previous bytea not null,
    hash bytea not null,
    primary key (tenant, seq)
);

-- The newest entry of each stream. Its row is locked last in a transaction, so that entries follow
-- one another and nobody waits in a circle.
create table engine.audit_head (
    seq int8 not null default 0,
    tenant int4 primary key,
    hash bytea not null default decode(repeat('00', 32), 'hex')
) with (fillfactor = 50);

create function engine.refuse_audit_change_v1() returns trigger
    language plpgsql
as $$
begin
    raise exception 'the audit is only appended to' using errcode = 'AX002';
end
$$;
create trigger audit_keeps before update or delete on engine.audit
    for each row execute function engine.refuse_audit_change_v1();
create trigger audit_stays before truncate on engine.audit
    for each statement execute function engine.refuse_audit_change_v1();
