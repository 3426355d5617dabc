-- Who did what. Rows are only ever added, each with a hash that takes in the one before; the
-- triggers keep mistakes away, the hashes tell of intent.
create table engine_audit (
    tenant integer not null,
    seq integer not null,
    at integer not null,
    actor text not null,
    actor_kind text not null,
    actor_id text,
    role text not null,
    ingress text not null,
    request_id text not null,
    act text not null,
    subject text not null,
    before text,
    after text,
    reason text,
    previous blob not null,
    hash blob not null,
    primary key (tenant, seq)
) strict, without rowid;

-- The newest entry of each stream.
create table engine_audit_head (
    tenant integer primary key,
    seq integer not null,
    hash blob not null
) strict;

create trigger engine_audit_keeps before update on engine_audit
begin
    select raise(abort, 'the audit is only appended to');
end;
create trigger engine_audit_stays before delete on engine_audit
begin
    select raise(abort, 'the audit is only appended to');
end;
