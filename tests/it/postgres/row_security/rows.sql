-- One row of two tenants in each table that tenants read.
insert into engine.account (created_at, password_set_at, tenant, id, name, role, password, created_by)
select now(), now(), tenant, gen_random_uuid(), 'a', 'viewer', 'p', 'somebody'
from generate_series(1, 2) as tenant;
insert into engine.session (
    created_at, expires_at, last_used_at, tenant, id, account, lookup, digest)
select now(), now() + interval '1 day', now(), tenant, gen_random_uuid(), gen_random_uuid(),
    'lookup' || tenant, ''
from generate_series(1, 2) as tenant;
insert into engine.action (tenant, uuid, name, spec, health, version, created_at, updated_at)
select tenant, gen_random_uuid(), 'a', '{}', '{}', 1, now(), now()
from generate_series(1, 2) as tenant;
insert into engine.action_version (
    action, version, tenant, name, spec, health, updated_at, deleted)
select id, 1, tenant, name, spec, health, now(), false from engine.action;
insert into engine.api_key (created_at, tenant, id, name, role, created_by, lookup)
select now(), tenant, gen_random_uuid(), 'k', 'viewer', 'somebody', 'lookup' || tenant
from generate_series(1, 2) as tenant;
insert into engine.audit (
    seq, at, tenant, actor, actor_kind, role, ingress, request_id, act, subject, previous, hash)
select 1, now(), tenant, 'somebody', 'key', 'viewer', 'http', 'r', 'a.b', 's', '', ''
from generate_series(1, 2) as tenant;
insert into engine.audit_head (tenant) select tenant from generate_series(1, 2) as tenant;
insert into engine.bulk (tenant, id, record)
select tenant, gen_random_uuid(), '{}' from generate_series(1, 2) as tenant;
insert into engine.bulk_item (number, bulk, target) select 1, id, gen_random_uuid() from engine.bulk;
insert into engine.dead (id, died_at, tenant, action, fingerprint)
select gen_random_uuid(), now(), tenant, 1, 'f' from generate_series(1, 2) as tenant;
insert into engine.event (
    id, accepted_at, tenant, type, source, data, attributes, executions)
select engine.mint_id(), now(), tenant, 'orders.paid', '/shop', '{}', '{}', '{}'
from generate_series(1, 2) as tenant;
insert into engine.execution (
    id, epoch, fin, defs, queued_at, ended_at, tenant, action, node, part, lane, status,
    attempt_count, attempts)
select engine.mint_id(), 1, 1, 1, now(), now(), tenant, 1, 1, 0, 1, 2, 1, '[]'
from generate_series(1, 2) as tenant;
insert into engine.intake_refused (id, tenant, at, body, reason)
select tenant, tenant, now(), '{}', 'r' from generate_series(1, 2) as tenant;
insert into engine.later (
    id, ord, due, defs, queued_at, tenant, action, part, why, losses, lane, depth, hold, attempts)
select engine.mint_id(), 1, now() + interval '1 day', 1, now(), tenant, 1, 0, 1, 0, 1, 0, false, '[]'
from generate_series(1, 2) as tenant;
insert into engine.member (head, tenant, action, place, body)
select gen_random_uuid(), tenant, 1, 1, '{}' from generate_series(1, 2) as tenant;
insert into engine.queue_metric (
    sampled_at, pending, processing, completed, failed, avg_processing_time_ms,
    throughput_per_minute, error_rate_percentage, active_workers, tenant, queue_name)
select now(), 0, 0, 0, 0, 0, 0, 0, 0, tenant, 'q' from generate_series(1, 2) as tenant;
insert into engine.run (
    defs, started_at, updated_at, tenant, workflow, entry_count, part, status, id, name)
select 1, now(), now(), tenant, 1, 1, 0, 1, gen_random_uuid(), 'w'
from generate_series(1, 2) as tenant;
insert into engine.run_entry (tenant, number, run, body)
select tenant, 0, id, '{}' from engine.run;
insert into engine.schedule (
    handled_until, version, created_at, updated_at, tenant, name, spec)
select now(), 1, now(), now(), tenant, 's', '{}' from generate_series(1, 2) as tenant;
insert into engine.secret (created_at, tenant, id, name, created_by)
select now(), tenant, gen_random_uuid(), 'S', 'somebody' from generate_series(1, 2) as tenant;
insert into engine.secret_version (created_at, number, secret, key_id, created_by, wrapped, text)
select now(), 1, id, 'k', 'somebody', '', '' from engine.secret;
insert into engine.stat (
    last_at, tenant, action, completed, failed, cancelled, retries, duration_ms)
select now(), tenant, 1, 1, 0, 0, 0, 1 from generate_series(1, 2) as tenant;
insert into engine.work (
    seq, defs, queued_at, seg, tenant, action, part, lane, depth, id)
select tenant, 1, now(), engine.segment_of(now()), tenant, 1, 0, 1, 0, engine.mint_id()
from generate_series(1, 2) as tenant;
insert into engine.usage_day (events, bytes, executions, tenant, day)
select 1, 1, 1, tenant, 1 from generate_series(1, 2) as tenant;
