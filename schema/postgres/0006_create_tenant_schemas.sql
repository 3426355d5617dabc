-- What people see: schemas `admin`, `tenant_template` and `tenant_<slug>` with the five founding
-- relations, as views over the engine's tables. Facts can only be read. Definitions can be
-- changed: triggers check what is written and take the same way as the API, so an edit in SQL
-- holds at once as well.
--
-- A role that was granted a tenant's schema sees that tenant and nothing else:
--   grant usage on schema tenant_acme to role; grant select on all tables in schema tenant_acme …

-- The words behind the numbers.
create function engine.status_word(number int4) returns text
    language sql immutable parallel safe
    return (array['pending', 'running', 'completed', 'failed', 'retrying', 'cancelled', 'timeout',
                  'skipped', 'paused', 'blocked'])[number + 1];

create function engine.priority_word(number int4) returns text
    language sql immutable parallel safe
    return (array['low', 'normal', 'high', 'very_high', 'critical'])[number + 1];

-- The id of one attempt's row: the first one's is the execution's own.
create function engine.attempt_id(execution uuid, number int4) returns uuid
    language sql immutable parallel safe
    return case when number <= 1 then execution else md5(execution::text || ':' || number)::uuid end;


-- Executions of all tenants, finished or not, once each.
create view engine.all_executions as
select
    id, tenant, action, event, parent, lane, input, output, error, attempts, status::int4 as status,
    queued_at, started_at, ended_at, node
from engine.execution
union all
select
    id, tenant, action, event, parent, lane, input, null, null, attempts,
    case when exists (select from engine.running where running.id = later.id) then 1
         when attempts = '[]' then 0 else 4 end,
    queued_at, null, null, null
from engine.later
where (select true from engine.execution
       where execution.tenant = later.tenant and execution.id = later.id) is null
union all
select
    id, tenant, action, event, parent, lane, input, null, null, '[]',
    case when exists (select from engine.running where running.id = work.id) then 1 else 0 end,
    queued_at, null, null, null
from engine.work
where (select true from engine.execution
       where execution.tenant = work.tenant and execution.id = work.id) is null
  and (select true from engine.later where later.id = work.id) is null;

-- One row for each attempt, and one for the attempt that an unfinished execution waits for.
create view engine.founding_executions as
select
    execution.tenant,
    engine.attempt_id(execution.id, attempt.number) as id,
    execution.event as event_id,
    action.uuid as action_id,
    null::json as execution_context,
    coalesce(execution.input, event.data)::json as input_data,
    case when attempt.is_last then execution.output end::json as output_data,
    attempt.status,
    execution.queued_at,
    attempt.started_at,
    attempt.ended_at as completed_at,
    floor(extract(epoch from attempt.ended_at - attempt.started_at) * 1000)::int8
        as execution_duration_ms,
    attempt.number as attempt_number,
    attempt.number > 1 as is_retry,
    case when attempt.number > 1 then engine.attempt_id(execution.id, attempt.number - 1)
         else execution.parent end as parent_execution_id,
    attempt.error ->> 'message' as error_message,
    attempt.error::json as error_details,
    null::text as error_stack_trace,
    execution.id::text as queue_message_id,
    node.name as worker_id,
    attempt.memory_mb as memory_usage_mb,
    attempt.cpu_ms as cpu_time_ms,
    execution.queued_at as created_at,
    coalesce(attempt.ended_at, attempt.started_at, execution.queued_at) as updated_at
from engine.all_executions as execution
join engine.action on action.id = execution.action
left join engine.event on event.id = execution.event
cross join lateral (
    select
        (made.value ->> 'number')::int4 as number,
        made.n = jsonb_array_length(execution.attempts::jsonb) as is_last,
        case
            when made.n = jsonb_array_length(execution.attempts::jsonb)
                 and execution.ended_at is not null
                then engine.status_word(execution.status)
            when made.value ->> 'outcome' in ('completed', 'timeout', 'cancelled')
                then made.value ->> 'outcome'
            else 'failed'
        end as status,
        (made.value ->> 'started_at')::timestamptz as started_at,
        (made.value ->> 'ended_at')::timestamptz as ended_at,
        coalesce(made.value -> 'error',
            case when made.n = jsonb_array_length(execution.attempts::jsonb)
                then execution.error::jsonb end) as error,
        (made.value ->> 'node')::int4 as node,
        (made.value ->> 'memory_mb')::int8 as memory_mb,
        (made.value ->> 'cpu_ms')::int8 as cpu_ms
    from jsonb_array_elements(execution.attempts::jsonb) with ordinality as made (value, n)
    union all
    select
        jsonb_array_length(execution.attempts::jsonb) + 1, true,
        engine.status_word(execution.status), null, execution.ended_at, execution.error::jsonb,
        execution.node, null, null
    where execution.ended_at is null or execution.attempts = '[]'
) as attempt
left join engine.node on node.id = attempt.node;

create view engine.founding_events as
select
    event.tenant,
    event.id,
    event.type::varchar(255) as event_type,
    (more.about ->> 'aggregate_id')::uuid as aggregate_id,
    (more.about ->> 'aggregate_type')::varchar(100) as aggregate_type,
    coalesce((more.about ->> 'event_version')::int4, 1) as event_version,
    (more.about ->> 'correlation_id')::uuid as correlation_id,
    (more.about ->> 'causation_id')::uuid as causation_id,
    event.data::json as event_data,
    (more.about -> 'metadata')::json as event_metadata,
    case
        when progress.failed > 0 and progress.open = 0 then 'failed'
        when progress.open = 0 then 'completed'
        when progress.retrying > 0 then 'retrying'
        when progress.done > 0 or progress.running > 0 then 'processing'
        else 'pending'
    end as status,
    coalesce(more.about ->> 'priority', 'normal') as priority,
    event.accepted_at as scheduled_at,
    progress.started_at as processing_started_at,
    case when progress.open = 0 then progress.ended_at end as processing_completed_at,
    case when progress.open = 0 then
        floor(extract(epoch from progress.ended_at - progress.started_at) * 1000)::int8
    end as processing_duration_ms,
    coalesce(progress.retries, 0)::int4 as retry_count,
    greatest(3, progress.retries)::int4 as max_retries,
    progress.error ->> 'message' as error_message,
    progress.error::json as error_details,
    (more.about ->> 'tenant_id')::uuid as tenant_id,
    (more.about ->> 'organization_id')::uuid as organization_id,
    (more.about ->> 'user_id')::uuid as user_id,
    coalesce(more.about ->> 'source_service', event.source) as source_service,
    more.about ->> 'source_version' as source_version,
    null::text as queue_name,
    event.external_id as message_id,
    more.about ->> 'partition_key' as partition_key,
    event.accepted_at as created_at,
    coalesce(progress.ended_at, event.accepted_at) as updated_at,
    null::timestamptz as deleted_at
from engine.event
cross join lateral (select event.attributes::jsonb as about) as more
cross join lateral (
    select
        count(*) filter (where execution.ended_at is null) as open,
        count(*) filter (where execution.ended_at is not null) as done,
        count(*) filter (where execution.status in (3, 6)) as failed,
        count(*) filter (where execution.status = 4) as retrying,
        count(*) filter (where execution.status = 1) as running,
        min(execution.started_at) as started_at,
        max(execution.ended_at) as ended_at,
        max(jsonb_array_length(execution.attempts::jsonb)) - 1 as retries,
        (array_agg(execution.error::jsonb) filter (where execution.error is not null))[1] as error
    from engine.all_executions as execution
    where execution.id = any (event.executions) and execution.tenant = event.tenant
) as progress;

create view engine.founding_actions as
select
    action.tenant,
    action.uuid as id,
    action.name::varchar(255) as name,
    spec.text ->> 'action_type' as action_type,
    (spec.text ->> 'handler')::varchar(500) as handler_class,
    spec.text -> 'config' as config,
    array(select json_array_elements_text(spec.text -> 'event_patterns')) as event_patterns,
    spec.text -> 'conditions' as conditions,
    (spec.text ->> 'is_active')::bool as is_active,
    spec.text ->> 'priority' as priority,
    (spec.text ->> 'timeout_seconds')::int4 as timeout_seconds,
    spec.text -> 'retry_policy' as retry_policy,
    (spec.text ->> 'max_concurrent_executions')::int4 as max_concurrent_executions,
    (spec.text ->> 'rate_limit_per_minute')::int4 as rate_limit_per_minute,
    (spec.text ->> 'rate_limit_per_hour')::int4 as rate_limit_per_hour,
    (action.health ->> 'is_healthy')::bool as is_healthy,
    (action.health ->> 'last_check_at')::timestamptz as last_health_check_at,
    action.health ->> 'error' as health_check_error,
    coalesce(counts.completed + counts.failed + counts.cancelled, 0)::int8 as total_executions,
    coalesce(counts.completed, 0)::int8 as successful_executions,
    coalesce(counts.failed, 0)::int8 as failed_executions,
    coalesce(round(
        counts.duration_ms::numeric
            / nullif(counts.completed + counts.failed + counts.cancelled, 0), 2), 0)
        as avg_execution_time_ms,
    spec.text ->> 'description' as description,
    array(select json_array_elements_text(spec.text -> 'tags'))::varchar(50)[] as tags,
    spec.text ->> 'owner_team' as owner_team,
    spec.text -> 'metadata' as metadata,
    action.created_at,
    action.updated_at,
    null::timestamptz as deleted_at
from engine.action
cross join lateral (select action.spec as text) as spec
left join lateral (
    select
        sum(completed) as completed, sum(failed) as failed, sum(cancelled) as cancelled,
        sum(duration_ms) as duration_ms
    from engine.stat
    where stat.tenant = action.tenant and stat.action = action.id
) as counts on true
where not action.deleted;

create view engine.founding_subscriptions as
select
    subscription.tenant,
    subscription.id,
    action.uuid as action_id,
    (spec.text ->> 'event_pattern')::varchar(255) as event_pattern,
    spec.text -> 'conditions' as conditions,
    (spec.text ->> 'is_active')::bool as is_active,
    (spec.text ->> 'priority')::int4 as priority,
    array(select json_array_elements_text(spec.text -> 'tenant_filter'))::uuid[] as tenant_filter,
    array(select json_array_elements_text(spec.text -> 'organization_filter'))::uuid[]
        as organization_filter,
    array(select json_array_elements_text(spec.text -> 'user_filter'))::uuid[] as user_filter,
    array(select json_array_elements_text(spec.text -> 'source_service_filter'))
        as source_service_filter,
    (spec.text ->> 'rate_limit_per_minute')::int4 as rate_limit_per_minute,
    (spec.text ->> 'rate_limit_per_hour')::int4 as rate_limit_per_hour,
    null::timestamptz as rate_limit_window_start,
    null::int4 as current_rate_count,
    spec.text ->> 'name' as name,
    spec.text ->> 'description' as description,
    spec.text ->> 'created_by' as created_by,
    subscription.created_at,
    subscription.updated_at,
    null::timestamptz as deleted_at
from engine.subscription
join engine.action on action.id = subscription.action
cross join lateral (select subscription.spec as text) as spec
where not subscription.deleted;

create view engine.founding_queue_metrics as
select
    tenant,
    id,
    queue_name::varchar(100) as queue_name,
    sampled_at as metrics_timestamp,
    pending as pending_messages,
    processing as processing_messages,
    completed as completed_messages,
    failed as failed_messages,
    round(avg_processing_time_ms::numeric, 2) as avg_processing_time_ms,
    round(throughput_per_minute::numeric, 2) as throughput_per_minute,
    round(error_rate_percentage::numeric, 2) as error_rate_percentage,
    null::int8 as memory_usage_mb,
    null::numeric(5, 2) as cpu_usage_percentage,
    active_workers,
    active_workers > 0 as is_healthy,
    null::timestamptz as last_message_processed_at,
    null::json as metadata,
    sampled_at as created_at,
    sampled_at as updated_at
from engine.queue_metric;


-- Checks of what is written through the views. The program trusts what it finds in the tables,
-- so nothing may get there that it could not read.

create function engine.refuse(message text) returns void
    language plpgsql
as $$
begin
    raise exception '%', message using errcode = 'check_violation';
end
$$;

create function engine.check_number(what text, value json, lowest int8, highest int8) returns void
    language plpgsql
as $$
begin
    if value is null or json_typeof(value) = 'null' then
        return;
    end if;
    if json_typeof(value) <> 'number' or value::text !~ '^\d+$'
        or not value::text::numeric between lowest and highest then
        perform engine.refuse(format('%s is %s, allowed are %s to %s', what, value, lowest, highest));
    end if;
end
$$;

-- All that the program asks of a pattern but the syntax of a regular expression, which is another
-- one here.
create function engine.check_pattern(pattern text) returns void
    language plpgsql
as $$
begin
    if pattern is null or octet_length(pattern) not between 1 and 255 then
        perform engine.refuse('a pattern has 1 to 255 bytes');
    end if;
    if pattern ~ '^/.*/$' then
        if length(pattern) < 3 or octet_length(pattern) <> length(pattern) then
            perform engine.refuse(format('a regular expression between slashes has ASCII characters, and at least one; got %s', pattern));
        end if;
    elsif left(pattern, 1) = '^' or right(pattern, 1) = '$' then
        if octet_length(pattern) <> length(pattern) then
            perform engine.refuse(format('a regular expression has ASCII characters; got %s', pattern));
        end if;
    elsif pattern !~ '^[A-Za-z0-9_*?]+(\.[A-Za-z0-9_*?]+)*$' or pattern ~ '\*\*' then
        perform engine.refuse(format('a pattern is words of letters, digits, ''_'', ''*'' and ''?'' joined by single dots, without ''**''; got %s', pattern));
    end if;
end
$$;

create function engine.check_action_spec(spec json) returns void
    language plpgsql
as $$
declare
    types text[] := array[
        'email', 'sms', 'push_notification', 'webhook', 'system_notification',
        'slack_notification', 'teams_notification', 'function_execution', 'script_execution',
        'workflow_trigger', 'lambda_function', 'background_job', 'database_operation',
        'file_operation', 'storage_operation', 'backup_operation', 'data_sync',
        'cache_invalidation', 'cache_warming', 'index_rebuild', 'external_api',
        'payment_processing', 'analytics_tracking', 'crm_sync', 'erp_sync', 'security_scan',
        'compliance_check', 'audit_log', 'access_review', 'deployment_trigger',
        'scaling_operation', 'monitoring_alert', 'health_check', 'report_generation',
        'batch_processing', 'data_pipeline', 'custom'];
    policy json := spec -> 'retry_policy';
    part record;
begin
    if spec ->> 'name' is null or spec ->> 'name' !~ '^[A-Za-z0-9_.-]{1,100}$' then
        perform engine.refuse('a name has 1 to 100 letters, digits, ''_'', ''-'' or ''.''');
    end if;
    if spec ->> 'action_type' is null or not spec ->> 'action_type' = any (types) then
        perform engine.refuse(format('there is no action type %s', spec ->> 'action_type'));
    end if;
    if spec ->> 'handler' is null or length(spec ->> 'handler') > 500
        or spec ->> 'handler' !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$' then
        perform engine.refuse('a handler id is module.name, like webhook.signed');
    end if;
    if json_typeof(spec -> 'config') <> 'object' or length(spec ->> 'config') > 65536 then
        perform engine.refuse('config is a JSON object of at most 65536 bytes');
    end if;
    if json_array_length(spec -> 'event_patterns') = 0 then
        perform engine.refuse('event_patterns needs at least one pattern');
    end if;
    for part in select json_array_elements_text(spec -> 'event_patterns') as pattern loop
        perform engine.check_pattern(part.pattern);
    end loop;
    if not spec ->> 'priority' = any (array['low', 'normal', 'high', 'very_high', 'critical']) then
        perform engine.refuse(format('there is no priority %s', spec ->> 'priority'));
    end if;
    perform engine.check_number('timeout_seconds', spec -> 'timeout_seconds', 1, 3600);
    perform engine.check_number(
        'max_concurrent_executions', spec -> 'max_concurrent_executions', 1, 10000);
    perform engine.check_number('rate_limit_per_minute', spec -> 'rate_limit_per_minute', 1, 1000000);
    perform engine.check_number('rate_limit_per_hour', spec -> 'rate_limit_per_hour', 1, 1000000);

    if json_typeof(policy) <> 'object' then
        perform engine.refuse('retry_policy is a JSON object');
    end if;
    for part in select key, value from json_each(policy) loop
        case
            when part.key = 'max_retries' then
                perform engine.check_number(part.key, part.value, 0, 100);
            when part.key = 'initial_delay_ms' then
                perform engine.check_number(part.key, part.value, 100, 86400000);
            when part.key = 'max_delay_ms' then
                perform engine.check_number(part.key, part.value, 100, 86400000);
            when part.key in ('backoff', 'backoff_type') then
                if not part.value #>> '{}' = any (array['exponential', 'linear', 'fixed']) then
                    perform engine.refuse(format('there is no back-off %s', part.value));
                end if;
            when part.key in ('jitter', 'retry_on_timeout', 'retry_on_handler_error',
                              'retry_on_system_error') then
                if json_typeof(part.value) <> 'boolean' then
                    perform engine.refuse(format('%s is true or false', part.key));
                end if;
            else
                perform engine.refuse(format('retry_policy has no %s', part.key));
        end case;
        if json_typeof(part.value) = 'null' then
            perform engine.refuse(format('%s is null', part.key));
        end if;
    end loop;
    if policy ->> 'max_retries' is null or coalesce(policy ->> 'backoff', policy ->> 'backoff_type') is null
        or policy ->> 'initial_delay_ms' is null then
        perform engine.refuse('retry_policy needs max_retries, backoff and initial_delay_ms');
    end if;
    if coalesce((policy ->> 'max_delay_ms')::int8, 60000) < (policy ->> 'initial_delay_ms')::int8 then
        perform engine.refuse('max_delay_ms is less than initial_delay_ms');
    end if;
end
$$;

-- Instead of a write to `actions`. Counters, times and health are the engine's; what has no
-- founding column (affinity) stays as it is.
create function engine.change_action() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    tenant_id int4 := tg_argv[0]::int4;
    known engine.action;
    spec jsonb;
    given json;
begin
    if tg_op <> 'INSERT' then
        perform from engine.tenant where tenant.id = tenant_id for no key update;
        select * from engine.action
        where action.tenant = tenant_id and action.uuid = old.id and not action.deleted
        into known;
        if not found then
            return null;
        end if;
    end if;
    if tg_op = 'DELETE' then
        perform engine.write_action_v1(
            tenant_id, known.id, known.uuid, known.name, known.spec, known.health, true);
        return old;
    end if;

    given := json_build_object(
        'name', new.name, 'action_type', new.action_type, 'handler', new.handler_class,
        'config', coalesce(new.config::json, '{}'::json),
        'event_patterns', coalesce(to_json(new.event_patterns), '[]'::json),
        'conditions', new.conditions::json,
        'is_active', coalesce(new.is_active, true),
        'priority', coalesce(new.priority, 'normal'),
        'timeout_seconds', coalesce(new.timeout_seconds, 300),
        'retry_policy', coalesce(new.retry_policy::json,
            '{"max_retries": 3, "backoff": "exponential", "initial_delay_ms": 1000}'::json));
    spec := coalesce(known.spec::jsonb, '{}')
        - array['max_concurrent_executions', 'rate_limit_per_minute', 'rate_limit_per_hour',
                'description', 'tags', 'owner_team', 'metadata']
        || given::jsonb
        || jsonb_strip_nulls(jsonb_build_object(
            'max_concurrent_executions', new.max_concurrent_executions,
            'rate_limit_per_minute', new.rate_limit_per_minute,
            'rate_limit_per_hour', new.rate_limit_per_hour,
            'description', new.description,
            'owner_team', new.owner_team))
        || case when new.tags is null then '{}'
                else jsonb_build_object('tags', to_jsonb(new.tags)) end
        || case when new.metadata is null then '{}'
                else jsonb_build_object('metadata', new.metadata::jsonb) end;
    perform engine.check_action_spec(spec::json);

    if tg_op = 'INSERT' then
        new.id := coalesce(new.id, engine.mint_id());
        perform engine.write_action_v1(
            tenant_id, null, new.id, new.name, spec::json,
            '{"is_healthy": true, "last_check_at": null, "error": null}', false);
    else
        if new.id <> old.id then
            perform engine.refuse('an id never changes');
        end if;
        perform engine.write_action_v1(
            tenant_id, known.id, known.uuid, new.name, spec::json, known.health, false);
    end if;
    return new;
end
$$;

-- Instead of a write to `event_subscriptions`. The view of a schema lacks some filters; they
-- stay as they are.
create function engine.change_subscription() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    tenant_id int4 := tg_argv[0]::int4;
    known engine.subscription;
    action_number int4;
    given jsonb;
    spec jsonb;
    field text;
begin
    if tg_op <> 'INSERT' then
        perform from engine.tenant where tenant.id = tenant_id for no key update;
        select * from engine.subscription
        where subscription.tenant = tenant_id and subscription.id = old.id
          and not subscription.deleted
        into known;
        if not found then
            return null;
        end if;
    end if;
    if tg_op = 'DELETE' then
        perform engine.write_subscription_v1(tenant_id, known.id, known.action, known.spec, true);
        return old;
    end if;

    select action.id from engine.action
    where action.tenant = tenant_id and action.uuid = new.action_id and not action.deleted
    into action_number;
    if not found then
        perform engine.refuse(format('there is no action %s', new.action_id));
    end if;
    perform engine.check_pattern(new.event_pattern);
    if coalesce(new.priority, 0) < 0 then
        perform engine.refuse('priority is 0 or more');
    end if;

    given := to_jsonb(new);
    spec := coalesce(known.spec::jsonb, '{}')
        || jsonb_build_object(
            'event_pattern', new.event_pattern,
            'conditions', coalesce(new.conditions::jsonb, 'null'),
            'is_active', coalesce(new.is_active, true),
            'priority', coalesce(new.priority, 0));
    foreach field in array array['tenant_filter', 'organization_filter', 'user_filter',
        'source_service_filter', 'rate_limit_per_minute', 'rate_limit_per_hour', 'name',
        'description', 'created_by']
    loop
        if not given ? field then
            continue;
        end if;
        spec := spec - field;
        if given -> field <> 'null' then
            spec := spec || jsonb_build_object(field, given -> field);
        end if;
    end loop;
    perform engine.check_number(
        'rate_limit_per_minute', (spec -> 'rate_limit_per_minute')::json, 1, 1000000);
    perform engine.check_number(
        'rate_limit_per_hour', (spec -> 'rate_limit_per_hour')::json, 1, 1000000);

    if tg_op = 'INSERT' then
        new.id := coalesce(new.id, engine.mint_id());
        if exists (select from engine.subscription
                   where subscription.tenant = tenant_id and subscription.id = new.id
                     and not subscription.deleted) then
            perform engine.refuse(format('%s exists already', new.id));
        end if;
    elsif new.id <> old.id then
        perform engine.refuse('an id never changes');
    end if;
    perform engine.write_subscription_v1(tenant_id, new.id, action_number, spec::json, false);
    return new;
end
$$;


-- Makes a schema of views for one tenant. Number 0 is nobody: the template shows no rows.
create function engine.create_schema_v1(name text, tenant_id int4) returns void
    language plpgsql
as $$
declare
    relation record;
    is_admin bool := name = 'admin';
    columns text;
begin
    execute format('create schema %I', name);
    for relation in
        select view, founding, hidden
        from (values
            ('events', 'founding_events',
             case when is_admin then '{}' else '{tenant_id,organization_id}' end),
            ('actions', 'founding_actions', '{}'),
            ('action_executions', 'founding_executions', '{}'),
            ('event_subscriptions', 'founding_subscriptions',
             case when is_admin then '{user_filter}' else '{tenant_filter,organization_filter}' end),
            ('queue_metrics', 'founding_queue_metrics', '{}')
        ) as relations (view, founding, hidden)
    loop
        select string_agg(quote_ident(attname), ', ' order by attnum)
        from pg_attribute
        where attrelid = format('engine.%I', relation.founding)::regclass
          and attnum > 0 and attname <> 'tenant'
          and not attname = any (relation.hidden::text[])
        into columns;
        -- The barrier keeps a reader's own functions from seeing other tenants' rows.
        execute format(
            'create view %I.%I with (security_barrier) as select %s from engine.%I where tenant = %s',
            name, relation.view, columns, relation.founding, tenant_id);
    end loop;
    if tenant_id > 0 then
        execute format(
            'create trigger change instead of insert or update or delete on %I.actions '
            'for each row execute function engine.change_action(%L)', name, tenant_id);
        execute format(
            'create trigger change instead of insert or update or delete on %I.event_subscriptions '
            'for each row execute function engine.change_subscription(%L)', name, tenant_id);
    end if;
end
$$;

create function engine.create_tenant_v1(new_uuid uuid, new_slug text, new_name text)
    returns engine.tenant
    language plpgsql
as $$
declare
    created engine.tenant;
begin
    insert into engine.tenant (uuid, slug, name)
    values (new_uuid, new_slug, new_name)
    returning * into created;
    perform engine.create_schema_v1('tenant_' || new_slug, created.id);
    return created;
end
$$;

select engine.create_schema_v1('admin', 1);
select engine.create_schema_v1('tenant_template', 0);


-- The public functions ------------------------------------------------------------------------

create schema actions;

-- Checks what the engine could only set aside later: the caller can still mend it.
create function engine.check_emitted(data text, attributes json) returns void
    language plpgsql
as $$
declare
    part record;
    rest text;
begin
    -- A '/' cannot stand in a bare number or word, so what is left of strings cannot join others.
    if length(data) - length(translate(data, '[{', '')) > 64
        or data ~ '[eE][+]?[0-9]{3}|[0-9]{200}' then
        rest := regexp_replace(data, '"(\\.|[^"\\])*"', '/', 'g');
        -- A number that no double holds is refused by the cast.
        perform number[1]::float8
        from regexp_matches(rest, '-?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?', 'g') as number
        where length(number[1]) >= 309 or number[1] ~ '[eE][+]?[0-9]{3}';
        rest := regexp_replace(rest, '[^][{}]', '', 'g');
        for level in 1..64 loop
            exit when rest = '';
            rest := regexp_replace(rest, '\[\]|\{\}', '', 'g');
        end loop;
        if rest <> '' then
            perform engine.refuse('JSON is nested deeper than 64 levels');
        end if;
    end if;

    if json_typeof(attributes) <> 'object' then
        perform engine.refuse('attributes are a JSON object');
    end if;
    for part in
        select key, json_typeof(value) as kind, value #>> '{}' as value from json_each(attributes)
    loop
        case
            when part.key = 'by_engine' then
                if part.value is distinct from 'false' then
                    perform engine.refuse('only the engine sets by_engine');
                end if;
            when part.key = 'depth' then
                if part.kind <> 'number' or part.value !~ '^[0-9]{1,2}$' or part.value::int4 > 16 then
                    perform engine.refuse('depth is 0 to 16: longer chains of actions are loops');
                end if;
            when part.key = 'extensions' then
                if part.kind <> 'object' then
                    perform engine.refuse('extensions are a JSON object');
                end if;
            when part.kind = 'null' then
                null;
            when part.key in ('aggregate_id', 'correlation_id', 'causation_id', 'caused_by',
                              'tenant_id', 'organization_id', 'user_id') then
                if part.kind <> 'string'
                    or part.value !~* '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' then
                    perform engine.refuse(format('%s is a UUID, not %s', part.key, part.value));
                end if;
            when part.key in ('subject', 'content_type', 'data_schema', 'partition_key',
                              'aggregate_type', 'source_service', 'source_version', 'traceparent',
                              'tracestate') then
                if part.kind <> 'string' then
                    perform engine.refuse(format('%s is a text', part.key));
                end if;
                if part.key in ('subject', 'partition_key') and octet_length(part.value) > 1024 then
                    perform engine.refuse(format('%s has at most 1024 bytes', part.key));
                end if;
            when part.key = 'priority' then
                if part.kind <> 'string' or not part.value = any (
                    array['low', 'normal', 'high', 'very_high', 'critical']) then
                    perform engine.refuse(format('there is no priority %s', part.value));
                end if;
            when part.key = 'event_version' then
                if part.kind <> 'number' or part.value !~ '^-?[0-9]{1,10}$'
                    or part.value::int8 not between -2147483648 and 2147483647 then
                    perform engine.refuse('event_version is a 32-bit integer');
                end if;
            when part.key = 'time' then
                if part.kind <> 'string'
                    or part.value !~* '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$' then
                    perform engine.refuse('time is written like 2026-01-31T12:00:00Z');
                end if;
                perform part.value::timestamptz;
            else
                null;
        end case;
    end loop;
end
$$;

-- Leaves an event for the engine, inside the caller's transaction: it exists if that commits.
-- Inserts one row into the intake and takes no other lock. Answers the event's id. `data` and
-- `attributes` are JSON and are kept byte for byte.
create function actions.emit_text(
    event_type text, data text, tenant text default 'admin', source text default null,
    external_id text default null, attributes text default '{}'
) returns uuid
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    tenant_id int4;
    event_id uuid := engine.mint_id();
begin
    if length(event_type) > 255 or lower(event_type) !~ '^[a-z0-9_]+(\.[a-z0-9_]+)+$' then
        raise exception 'an event type is two or more words of a-z, 0-9 and _ joined by dots, like users.created; got %', event_type
            using errcode = 'check_violation';
    end if;
    if octet_length(data) > 1048576 then
        raise exception 'an event has at most 1048576 bytes' using errcode = 'check_violation';
    end if;
    if octet_length(attributes) > 1048576 then
        raise exception 'attributes have at most 1048576 bytes' using errcode = 'check_violation';
    end if;
    if octet_length(source) > 1024 or octet_length(external_id) > 1024 then
        raise exception 'source and external_id have at most 1024 bytes'
            using errcode = 'check_violation';
    end if;
    perform engine.check_emitted(data, coalesce(attributes, '{}')::json);
    select t.id from engine.tenant as t where t.slug = tenant into tenant_id;
    if not found then
        raise exception 'there is no tenant %', tenant using errcode = 'AX004';
    end if;
    insert into engine.intake (tenant, body)
    values (tenant_id, json_build_object(
        'id', event_id,
        'type', lower(event_type),
        'source', coalesce(source, 'postgres:' || session_user),
        'external_id', external_id,
        'data', coalesce(data, 'null')::json,
        'attributes', coalesce(attributes, '{}')::json)::text);
    return event_id;
end
$$;

-- The same for callers with `jsonb` at hand:
--   select actions.emit('users.created', jsonb_build_object('id', 7), tenant => 'acme');
create function actions.emit(
    event_type text, data jsonb, tenant text default 'admin', source text default null,
    external_id text default null, attributes jsonb default '{}'
) returns uuid
    language sql
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    select actions.emit_text(event_type, data::text, tenant, source, external_id, attributes::text)
$$;
