-- Tenants that are deleted: what is known of them afterwards.

-- One row for each tenant that is gone or goes. Its slug is never given again. The record has the
-- certificate when nothing is left.
create table engine_tenant_deletion (
    id integer primary key,
    slug text not null unique,
    record text not null,
    finished_at integer,
    -- Of engine_api_key_version, when its keys were taken away.
    key_version integer not null,
    -- Their ids, one after the other.
    keys blob not null
) strict;

-- The audit of a tenant goes with it; the platform's has the hash of its last entry.
drop trigger engine_audit_stays;
create trigger engine_audit_stays before delete on engine_audit
when not exists (select 1 from engine_tenant_deletion where id = old.tenant)
begin
    select raise(abort, 'the audit is only appended to');
end;
