-- The second line between tenants: should a query that somebody asks ever forget its tenant, it finds
-- nothing. What a tenant's callers ask runs as `actions_tenant`, a role that may read what is granted
-- here, write nothing, and sees the rows of one tenant, which the transaction has to name. The engine
-- runs as the owner of the tables, whom these rules do not concern: they are enabled, not forced.

-- Whose rows the session may see; null is nobody's. The setting is one transaction's.
create function engine.asking_tenant_v1() returns int4
    language plpgsql stable parallel safe
as $$
begin
    -- The role is the whole server's, so those who run other installations may become it, too.
    if pg_has_role(
        session_user,
        (select nspowner from pg_catalog.pg_namespace where nspname = 'engine'),
        'member')
    then
        return nullif(current_setting('actions.tenant', true), '')::int4;
    end if;
    return null;
end
$$;

-- Puts a table under the rule. Every table with rows of tenants needs it, granted or not. The rule
-- asks for the tenant in a subquery, which is evaluated once and not for each row.
create function engine.guard_v1(
    given text, rule text default 'tenant = (select engine.asking_tenant_v1())'
) returns void
    language plpgsql
as $$
begin
    execute format('alter table engine.%I enable row level security', given);
    execute format('create policy of_tenant on engine.%I for select to actions_tenant using (%s)', given, rule);
end
$$;

-- Locks tables until the end of the transaction, all of them or none. Nodes go on meanwhile, and lock
-- them in orders of their own: who waits for one lock while it holds others would have flushes ended
-- as deadlocks, so nothing is held for longer than a tenth of a second before all of it is.
create function engine.lock_v1(given text[]) returns void
    language plpgsql
    set lock_timeout = '100ms'
as $$
declare
    relation text;
begin
    loop
        begin
            foreach relation in array given loop
                execute format('lock table only engine.%I in access exclusive mode', relation);
            end loop;
            return;
        exception
            when lock_not_available then
                -- Whoever waits for us has its turn.
                perform pg_sleep(0.1);
        end;
    end loop;
end
$$;

-- In the order of a flush, first what it begins with.
select engine.lock_v1(array[
    'tenant', 'dedupe', 'batch', 'claim', 'terms', 'lease', 'running', 'execution', 'later', 'stat',
    'dead', 'control', 'event', 'work', 'report', 'member', 'intake', 'intake_refused', 'action',
    'action_version', 'subscription', 'schedule', 'bulk', 'bulk_item', 'pull', 'queue_metric',
    'api_key', 'api_key_token', 'secret', 'secret_version', 'audit', 'audit_head']);

select engine.guard_v1(relation.relname)
from pg_class as relation
join pg_attribute as attribute on attribute.attrelid = relation.oid
where relation.relnamespace = 'engine'::regnamespace
  and relation.relkind in ('r', 'p') and not relation.relispartition
  and attribute.attname = 'tenant'
order by relation.relname;

select engine.guard_v1('tenant', 'id = (select engine.asking_tenant_v1())');
-- Rows that belong to a row with a tenant, which is only there for who may see it.
select engine.guard_v1(
    'bulk_item', 'exists (select from engine.bulk where bulk.id = bulk_item.bulk)');
select engine.guard_v1(
    'api_key_token', 'exists (select from engine.api_key where api_key.id = api_key_token.api_key)');
select engine.guard_v1(
    'secret_version', 'exists (select from engine.secret where secret.id = secret_version.secret)');
-- Nobody's rows: where the logs of all tenants are to be read from.
select engine.guard_v1('lease', '(select engine.asking_tenant_v1()) is not null');

grant usage on schema engine to actions_tenant;
-- Partitions have no grants: they are read through their parents, whose rules hold then.
grant select on
    engine.action, engine.action_version, engine.audit, engine.audit_head, engine.bulk,
    engine.bulk_item, engine.dead, engine.event, engine.execution, engine.intake_refused,
    engine.later, engine.member, engine.queue_metric, engine.schedule, engine.secret, engine.stat,
    engine.work
    to actions_tenant;
grant select (part, low) on engine.lease to actions_tenant;
grant select (
    tenant, id, name, role, created_by, created_at, expires_at, last_used_at, revoked_at, lookup,
    others_end_at
) on engine.api_key to actions_tenant;
-- Not what is sealed.
grant select (secret, number, key_id, created_at, created_by, ends_at)
    on engine.secret_version to actions_tenant;
