-- The flush: the engine's one write. Three functions, called by one statement in autocommit, so
-- no lock is ever held over a round trip. `admit` needs no lease, `settle` writes under leases,
-- `enqueue` gives places in the logs.
--
-- Locks, everywhere in this order: keys of requests, sorted → keys of events and jobs, sorted →
-- dead letters → lease rows, ascending → tail rows, ascending. Each statement of these functions sees what was committed
-- when it began (READ COMMITTED), so what a lock protects is read in a statement after it.
--
-- Columns of a batch are arrays. Several `unnest` in one select list run side by side and are
-- much cheaper than one in `from`, which keeps each column in a store of its own.
--
-- Plans are generic: the planner would rather make a new one for each flush, because it knows
-- the arrays' lengths then, and that takes longer than a small flush itself.
--
-- Versioned and only added to: nodes of the release before may still run beside us.
--
-- Own error codes: AX001 a lease was lost (detail: the partitions), AX002 the data are refused,
-- AX003 try again.

-- Decides which ingests are new and stores their events; answers cancels and discards; deletes
-- intake rows that the submissions were made from, and sets those aside that are refused.
--
-- Verdicts: 0 stored, 1 duplicate of `subjects`, 2 not dead any more, 3 stale, 4 of a request whose
-- key was used for another body.
create function engine.admit_v1(
    sub_tenants int4[], sub_versions int8[], sub_keys bytea[], sub_bodies bytea[],
    sub_intakes int8[],
    in_subs int4[], in_keys bytea[], in_subjects uuid[], in_requeues uuid[],
    ev_ingests int4[], ev_ids uuid[], ev_types text[], ev_sources text[], ev_externals text[],
    ev_accepted timestamptz[], ev_data text[], ev_attributes text[], ev_executions text[],
    cancel_tenants int4[], cancel_ids uuid[],
    discard_tenants int4[], discard_ids uuid[], discard_reasons text[],
    refused_ids int8[], refused_reasons text[],
    out stales int8[], out verdicts int2[], out subjects uuid[], out discarded int8
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
declare
    ingest_count int4 := cardinality(in_subs);
    at timestamptz := clock_timestamp();
    -- For each submission: 0 new or no request, 1 a repetition, 3 stale, 4 another body.
    requests int2[];
    has_unknown bool;
    has_stale bool;
begin
    verdicts := array_fill(0::int2, array[ingest_count]);
    discarded := 0;

    if cardinality(sub_tenants) > 0 then
        select
            array_agg(case when tenant.defs_version > sub.version then tenant.defs_version end
                      order by sub.n),
            bool_or(tenant.id is null),
            bool_or(tenant.defs_version > sub.version)
        from unnest(sub_tenants, sub_versions) with ordinality as sub (number, version, n)
        left join engine.tenant on tenant.id = sub.number
        into stales, has_unknown, has_stale;

        if has_unknown then
            raise exception 'there is no such tenant' using errcode = 'AX002';
        end if;
        if has_stale then
            select array_agg(case when stales[ingest.sub] is null then 0 else 3 end::int2
                             order by ingest.n)
            from unnest(in_subs) with ordinality as ingest (sub, n)
            into verdicts;
        end if;
    end if;

    if exists (select from unnest(sub_keys) as sub (key) where key is not null) then
        select found.requests, found.verdicts
        from engine.admit_requests_v1(
            at, sub_tenants, sub_keys, sub_bodies, stales, in_subs, verdicts) as found
        into requests, verdicts;
    end if;

    if exists (select from unnest(in_keys) as ingest (key) where key is not null) then
        select found.verdicts, found.subjects
        from engine.admit_keys_v1(
            at, sub_tenants, in_subs, in_keys, null, in_subjects, verdicts) as found
        into verdicts, subjects;
    end if;

    if exists (select from unnest(in_requeues) as ingest (id) where id is not null) then
        verdicts := engine.admit_requeues_v1(
            sub_tenants, in_subs, in_keys, in_subjects, in_requeues, verdicts);
    end if;

    if cardinality(ev_ids) > 0 then
        begin
            insert into engine.event (
                id, accepted_at, tenant, type, source, external_id, data, attributes, executions)
            select
                id, accepted_at, sub_tenants[in_subs[ingest]], type, source, external_id, data,
                attributes, executions::uuid[]
            from (
                select
                    unnest(ev_ingests) as ingest, unnest(ev_ids) as id, unnest(ev_types) as type,
                    unnest(ev_sources) as source, unnest(ev_externals) as external_id,
                    unnest(ev_accepted) as accepted_at, unnest(ev_data) as data,
                    unnest(ev_attributes) as attributes, unnest(ev_executions) as executions
            ) as given
            where verdicts[ingest] = 0;
        exception
            when unique_violation then
                -- An event that is there was stored by an earlier try of this flush, with its
                -- work.
                select found.verdicts, found.subjects
                from engine.admit_repeats_v1(
                    sub_tenants, in_subs, ev_ingests, ev_ids, ev_types, ev_sources, ev_externals,
                    ev_accepted, ev_data, ev_attributes, ev_executions, verdicts, subjects
                ) as found
                into verdicts, subjects;
        end;
    end if;

    if requests is not null then
        select answered.verdicts, answered.subjects
        from engine.answer_requests_v1(
            at, sub_tenants, sub_keys, requests, in_subs, in_subjects, verdicts, subjects
        ) as answered
        into verdicts, subjects;
    end if;

    if cardinality(cancel_ids) > 0 then
        insert into engine.control (id, tenant)
        select distinct on (wanted.id) wanted.id, wanted.tenant
        from unnest(cancel_tenants, cancel_ids) as wanted (tenant, id)
        where not exists (
                select from engine.execution
                where execution.tenant = wanted.tenant and execution.id = wanted.id)
          and (exists (select from engine.work
                       where work.tenant = wanted.tenant and work.id = wanted.id)
               or exists (select from engine.later
                          where later.tenant = wanted.tenant and later.id = wanted.id))
        order by wanted.id
        on conflict do nothing;
    end if;

    if cardinality(discard_ids) > 0 then
        perform from engine.dead where id = any (discard_ids) order by id for no key update;
        update engine.dead
        set closed = 'discarded', closed_at = clock_timestamp(), reason = wanted.reason
        from unnest(discard_tenants, discard_ids, discard_reasons) as wanted (tenant, id, reason)
        where dead.id = wanted.id and dead.tenant = wanted.tenant and dead.closed is null;
        get diagnostics discarded = row_count;
    end if;

    -- A stale submission is matched and sent again from its row of the intake.
    if exists (select from unnest(sub_intakes) as sub (row) where row is not null) then
        delete from engine.intake
        using unnest(sub_intakes, stales) as moved (id, stale)
        where intake.id = moved.id and moved.stale is null;
    end if;

    if cardinality(refused_ids) > 0 then
        with refused as (
            delete from engine.intake
            using unnest(refused_ids, refused_reasons) as given (id, reason)
            where intake.id = given.id
            returning intake.id, intake.tenant, intake.at, intake.body, given.reason
        )
        insert into engine.intake_refused (id, tenant, at, body, reason)
        select id, tenant, refused.at, body, reason from refused;
    end if;
end
$$;

-- Finds repetitions of whole requests. All ingests of a request that is not new are left out.
create function engine.admit_requests_v1(
    at timestamptz, sub_tenants int4[], sub_keys bytea[], sub_bodies bytea[], stales int8[],
    in_subs int4[], given_verdicts int2[],
    out requests int2[], out verdicts int2[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
declare
    numbers int4[];
    sames bool[];
begin
    select array_agg(n order by n), array_agg(case when stale is null then 0 else 3 end::int2 order by n)
    from unnest(sub_tenants, stales) with ordinality as sub (tenant, stale, n)
    into numbers, requests;

    select found.verdicts, found.sames
    from engine.admit_keys_v1(at, sub_tenants, numbers, sub_keys, sub_bodies, null, requests) as found
    into requests, sames;

    select array_agg(case when request = 1 and not same then 4 else request end::int2 order by n)
    from unnest(requests, sames) with ordinality as sub (request, same, n)
    into requests;

    select array_agg(case when verdict = 0 then requests[sub] else verdict end::int2 order by n)
    from unnest(in_subs, given_verdicts) with ordinality as ingest (sub, verdict, n)
    into verdicts;
end
$$;

-- Writes down what new requests are answered with, and answers repeated ones with that. Last,
-- because a request may be repeated in its own flush.
create function engine.answer_requests_v1(
    at timestamptz, sub_tenants int4[], sub_keys bytea[], requests int2[],
    in_subs int4[], in_subjects uuid[], given_verdicts int2[], given_subjects uuid[],
    out verdicts int2[], out subjects uuid[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
    -- Keys are always looked up one by one, however few rows the planner expects.
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_seqscan = off
as $$
declare
    today int4 := engine.day_of(at);
begin
    update engine.dedupe
    set subjects = answered.subjects
    from (
        select
            sub_tenants[sub] as tenant, sub_keys[sub] as key,
            array_agg(case when verdict = 1 then repeated else subject end order by n) as subjects
        from unnest(in_subs, in_subjects, given_verdicts, given_subjects)
            with ordinality as ingest (sub, subject, verdict, repeated, n)
        where requests[sub] = 0 and sub_keys[sub] is not null
        group by sub
    ) as answered
    where dedupe.day in (today - 1, today)
      and dedupe.tenant = answered.tenant and dedupe.key = answered.key;

    select
        array_agg(case when is_repeat and known is null then 4 else verdict end::int2 order by n),
        array_agg(coalesce(known, subject) order by n)
    from (
        select
            n, verdict, subject, requests[sub] = 1 as is_repeat,
            case when requests[sub] = 1 then (
                select dedupe.subjects[place] from engine.dedupe
                where dedupe.day in (today - 1, today)
                  and dedupe.tenant = sub_tenants[sub] and dedupe.key = sub_keys[sub]
                  and cardinality(dedupe.subjects) = ingests
                order by dedupe.day
                limit 1
            ) end as known
        from (
            select
                n, sub, verdict, subject, count(*) over (partition by sub) as ingests,
                (row_number() over (partition by sub order by n))::int4 as place
            from unnest(in_subs, given_verdicts, given_subjects)
                with ordinality as ingest (sub, verdict, subject, n)
        ) as placed
    ) as judged
    into verdicts, subjects;
end
$$;

-- Finds repetitions by key. The key's row is the lock: of two flushes with one key, the second
-- waits for the first and then finds it.
--
-- Around midnight (UTC) a flush of yesterday may still be under way, so for a minute both days
-- are written; yesterday's row is then what both of them meet at.
create function engine.admit_keys_v1(
    at timestamptz, sub_tenants int4[], in_subs int4[], in_keys bytea[], in_bodies bytea[], in_subjects uuid[],
    given_verdicts int2[],
    out verdicts int2[], out subjects uuid[], out sames bool[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
declare
    today int4 := engine.day_of(at);
    is_midnight bool := engine.day_of(at - interval '60 seconds') < today;
    new int8[];
    new_yesterday int8[];
begin
    -- The usual case first: all keys are new. Always in the order of the keys, so that two flushes
    -- cannot wait for each other.
    if not is_midnight and not exists (
        select
        from (
            select unnest(in_subs) as sub, unnest(in_keys) as key
        ) as ingest
        where (select true from engine.dedupe
               where dedupe.day = today - 1 and dedupe.tenant = sub_tenants[ingest.sub]
                 and dedupe.key = ingest.key)
    ) then
        begin
            insert into engine.dedupe (day, tenant, key, subject, body)
            select today, sub_tenants[sub] as tenant, key, subject, body
            from (
                select
                    unnest(in_subs) as sub, unnest(in_keys) as key, unnest(in_bodies) as body,
                    unnest(in_subjects) as subject, unnest(given_verdicts) as verdict
            ) as ingest
            where key is not null and verdict = 0
            order by tenant, key;
            verdicts := given_verdicts;
            return;
        exception
            when unique_violation then
                null;
        end;
    end if;

    -- Of equal keys in one flush the first one counts.
    if is_midnight then
        with wanted as (
            select distinct on (tenant, key) tenant, key, body, subject, n
            from (
                select sub_tenants[sub] as tenant, key, body, subject, n
                from unnest(in_subs, in_keys, in_bodies, in_subjects, given_verdicts)
                    with ordinality as ingest (sub, key, body, subject, verdict, n)
                where key is not null and verdict = 0
            ) as keyed
            order by tenant, key, n
        ), stored as (
            insert into engine.dedupe (day, tenant, key, subject, body)
            select today - 1, tenant, key, subject, body
            from wanted
            where not exists (
                select from engine.dedupe as other
                where other.day = today and other.tenant = wanted.tenant
                  and other.key = wanted.key)
            order by tenant, key
            on conflict do nothing
            returning tenant, key
        )
        select array_agg(n) from wanted join stored using (tenant, key) into new_yesterday;
    end if;

    with wanted as (
        select distinct on (tenant, key) tenant, key, body, subject, n
        from (
            select sub_tenants[sub] as tenant, key, body, subject, n
            from unnest(in_subs, in_keys, in_bodies, in_subjects, given_verdicts)
                with ordinality as ingest (sub, key, body, subject, verdict, n)
            where key is not null and verdict = 0
        ) as keyed
        order by tenant, key, n
    ), stored as (
        insert into engine.dedupe (day, tenant, key, subject, body)
        select today, tenant, key, subject, body
        from wanted
        where case
            when is_midnight then n = any (new_yesterday)
            else not exists (
                select from engine.dedupe as other
                where other.day = today - 1 and other.tenant = wanted.tenant
                  and other.key = wanted.key)
        end
        order by tenant, key
        on conflict do nothing
        returning tenant, key
    )
    select array_agg(n) from wanted join stored using (tenant, key) into new;

    if is_midnight and coalesce(cardinality(new), 0) < coalesce(cardinality(new_yesterday), 0) then
        -- A flush of after the minute overtook us. The next try finds its row.
        raise exception 'a key changed days' using errcode = 'AX003';
    end if;

    select
        array_agg(case when is_repeat then 1 else verdict end::int2 order by n),
        array_agg(case when is_repeat then known_subject end order by n),
        array_agg(case when is_repeat
            then coalesce(known_body = body, true) end order by n)
    from (
        select
            n, verdict, ingest.body, known.subject as known_subject, known.body as known_body,
            key is not null and verdict = 0 and not n = any (coalesce(new, '{}')) as is_repeat
        from unnest(in_subs, in_keys, in_bodies, given_verdicts)
            with ordinality as ingest (sub, key, body, verdict, n)
        left join lateral (
            select dedupe.subject, dedupe.body
            from engine.dedupe
            where dedupe.day in (today - 1, today)
              and dedupe.tenant = sub_tenants[sub] and dedupe.key = ingest.key
              and ingest.verdict = 0 and not n = any (coalesce(new, '{}'))
            order by dedupe.day
            limit 1
        ) as known on true
    ) as judged
    into verdicts, subjects, sames;
end
$$;

-- Takes dead letters out of the dead ones. What is none any more takes its key back.
create function engine.admit_requeues_v1(
    sub_tenants int4[], in_subs int4[], in_keys bytea[], in_subjects uuid[], in_requeues uuid[],
    given_verdicts int2[], out verdicts int2[]
)
    language plpgsql
as $$
declare
    taken int8[];
    today int4 := engine.day_of(clock_timestamp());
begin
    perform from engine.dead where id = any (in_requeues) order by id for no key update;
    with wanted as (
        select distinct on (id) id, sub_tenants[sub] as tenant, n
        from unnest(in_subs, in_requeues, given_verdicts) with ordinality as ingest (sub, id, verdict, n)
        where id is not null and verdict = 0
        order by id, n
    ), closed as (
        update engine.dead
        set closed = 'requeued', closed_at = clock_timestamp()
        from wanted
        where dead.id = wanted.id and dead.tenant = wanted.tenant and dead.closed is null
        returning wanted.n
    )
    select array_agg(n) from closed into taken;

    select array_agg(
        case when requeue is not null and verdict = 0 and not n = any (coalesce(taken, '{}'))
            then 2 else verdict end::int2 order by n)
    from unnest(in_requeues, given_verdicts) with ordinality as ingest (requeue, verdict, n)
    into verdicts;

    if 2 = any (verdicts) then
        delete from engine.dedupe
        using unnest(in_subs, in_keys, in_subjects, verdicts) as ingest (sub, key, subject, verdict)
        where ingest.verdict = 2 and dedupe.day in (today - 1, today)
          and dedupe.tenant = sub_tenants[ingest.sub] and dedupe.key = ingest.key
          and dedupe.subject = ingest.subject;
    end if;
end
$$;

-- Stores the events that are not there yet. Ingests whose event was there before, or twice in
-- this flush, are duplicates of it.
create function engine.admit_repeats_v1(
    sub_tenants int4[], in_subs int4[],
    ev_ingests int4[], ev_ids uuid[], ev_types text[], ev_sources text[], ev_externals text[],
    ev_accepted timestamptz[], ev_data text[], ev_attributes text[], ev_executions text[],
    given_verdicts int2[], given_subjects uuid[],
    out verdicts int2[], out subjects uuid[]
)
    language plpgsql
as $$
declare
    stored uuid[];
begin
    with new as (
        insert into engine.event (
            id, accepted_at, tenant, type, source, external_id, data, attributes, executions)
        select
            id, accepted_at, sub_tenants[in_subs[ingest]], type, source, external_id, data,
            attributes, executions::uuid[]
        from unnest(
            ev_ingests, ev_ids, ev_types, ev_sources, ev_externals, ev_accepted, ev_data,
            ev_attributes, ev_executions
        ) as given (
            ingest, id, type, source, external_id, accepted_at, data, attributes, executions)
        where given_verdicts[ingest] = 0
        on conflict do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') from new into stored;

    select
        array_agg(case when repeat.id is null then verdict else 1 end::int2 order by n),
        array_agg(coalesce(repeat.id, subject) order by n)
    from unnest(given_verdicts, given_subjects) with ordinality as ingest (verdict, subject, n)
    left join (
        select ingest, id
        from (
            select ingest, id, row_number() over (partition by id order by ingest) as nth
            from unnest(ev_ingests, ev_ids) as given (ingest, id)
            where given_verdicts[ingest] = 0
        ) as counted
        where nth > 1 or not id = any (stored)
    ) as repeat on repeat.ingest = ingest.n
    into verdicts, subjects;
end
$$;


-- Writes what only the owner of a partition may write. Raises AX001, and so writes nothing, when
-- a lease is lost. `after` is there to be evaluated first.
create function engine.settle_v1(
    after int8, writer int4, fence_parts int2[], fence_epochs int8[],
    mark_ids uuid[], mark_tenants int4[], mark_parts int2[],
    l_ids uuid[], l_parts int2[], l_ords int8[], l_delays int8[], l_whys int2[], l_holds bool[],
    l_losses int2[], l_attempts text[], l_tenants int4[], l_lanes int2[], l_actions int4[],
    l_defs int8[], l_keys text[], l_modes int2[], l_events uuid[], l_parents uuid[],
    l_queued timestamptz[], l_depths int2[], l_inputs text[],
    x_ids uuid[], x_parts int2[], x_epochs int8[], x_fins int8[], x_statuses int2[],
    x_started timestamptz[], x_ended timestamptz[], x_attempt_counts int2[], x_attempts text[],
    x_outputs text[], x_errors text[], x_fingerprints text[], x_tenants int4[], x_lanes int2[],
    x_actions int4[], x_defs int8[], x_keys text[], x_modes int2[], x_events uuid[],
    x_parents uuid[], x_queued timestamptz[], x_inputs text[]
) returns int4
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
declare
    held int2[];
    lost text;
begin
    -- Proves that this node still holds every lease that it writes under. A takeover updates the
    -- same rows: it waits for us, or we find its new epoch and a row is missing. The rows are
    -- locked, not updated: a version for each flush would rot under any long snapshot. No clock
    -- takes part in this.
    select array_agg(part)
    from (
        select lease.part
        from engine.lease
        join unnest(fence_parts, fence_epochs) as wanted (part, epoch)
            on lease.part = wanted.part and lease.epoch = wanted.epoch
        where lease.owner = writer
        order by lease.part
        for no key update of lease
    ) as locked
    into held;

    select string_agg(part::text, ',' order by part)
    from unnest(fence_parts) as wanted (part)
    where not part = any (coalesce(held, '{}'))
    into lost;
    if lost is not null then
        raise exception 'a lease was lost' using errcode = 'AX001', detail = lost;
    end if;

    if cardinality(mark_ids) > 0 then
        insert into engine.running (id, tenant, part, epoch)
        select marked.id, marked.tenant, marked.part, fence.epoch
        from unnest(mark_ids, mark_tenants, mark_parts) as marked (id, tenant, part)
        join unnest(fence_parts, fence_epochs) as fence (part, epoch) using (part)
        where not exists (
            select from engine.execution
            where execution.tenant = marked.tenant and execution.id = marked.id)
        on conflict (id) do update
        set part = excluded.part, epoch = excluded.epoch, started_at = excluded.started_at;
    end if;

    if cardinality(l_ids) > 0 then
        insert into engine.later (
            id, part, ord, due, why, hold, losses, attempts, tenant, lane, action, defs, key,
            mode, event, parent, queued_at, depth, input)
        select
            id, part, ord, clock_timestamp() + pause * interval '1 microsecond', why, hold,
            losses, attempts, tenant, lane, action, defs, key, mode, event, parent, queued_at,
            depth, input
        from unnest(
            l_ids, l_parts, l_ords, l_delays, l_whys, l_holds, l_losses, l_attempts, l_tenants,
            l_lanes, l_actions, l_defs, l_keys, l_modes, l_events, l_parents, l_queued, l_depths,
            l_inputs
        ) as given (
            id, part, ord, pause, why, hold, losses, attempts, tenant, lane, action, defs, key,
            mode, event, parent, queued_at, depth, input)
        where not exists (
            select from engine.execution
            where execution.tenant = given.tenant and execution.id = given.id)
        on conflict (id) do update
        set part = excluded.part, ord = excluded.ord, due = excluded.due, why = excluded.why,
            hold = excluded.hold, losses = excluded.losses, attempts = excluded.attempts;
        -- The attempt is over: only a started item may gain a loss.
        delete from engine.running where id = any (l_ids);
    end if;

    if cardinality(x_ids) > 0 then
        begin
            with stored as (
                insert into engine.execution (
                    id, epoch, fin, defs, queued_at, started_at, ended_at, tenant, action, node,
                    part, lane, mode, status, attempt_count, event, parent, key, input, output,
                    error, attempts)
                select
                    unnest(x_ids), unnest(x_epochs), unnest(x_fins), unnest(x_defs),
                    unnest(x_queued), unnest(x_started), unnest(x_ended), unnest(x_tenants),
                    unnest(x_actions), writer, unnest(x_parts), unnest(x_lanes), unnest(x_modes),
                    unnest(x_statuses), unnest(x_attempt_counts), unnest(x_events),
                    unnest(x_parents), unnest(x_keys), unnest(x_inputs), unnest(x_outputs),
                    unnest(x_errors), unnest(x_attempts)
                returning part, fin, tenant, action, status, attempt_count, started_at, ended_at
            ), numbered as (
                insert into engine.fin (part, fin)
                select part, max(fin) from stored group by part
                on conflict do nothing
            )
            insert into engine.stat (
                last_at, tenant, action, completed, failed, cancelled, retries, duration_ms)
            select
                max(ended_at), tenant, action,
                count(*) filter (where status = 2),
                count(*) filter (where status in (3, 6)),
                count(*) filter (where status = 5),
                sum(greatest(attempt_count - 1, 0)),
                coalesce(sum(floor(extract(epoch from ended_at - started_at) * 1000))::int8, 0)
            from stored
            group by tenant, action;
        exception
            when unique_violation then
                -- Some are finished already, and stay as they are.
                with stored as (
                insert into engine.execution (
                    id, epoch, fin, defs, queued_at, started_at, ended_at, tenant, action, node,
                    part, lane, mode, status, attempt_count, event, parent, key, input, output,
                    error, attempts)
                select
                    unnest(x_ids), unnest(x_epochs), unnest(x_fins), unnest(x_defs),
                    unnest(x_queued), unnest(x_started), unnest(x_ended), unnest(x_tenants),
                    unnest(x_actions), writer, unnest(x_parts), unnest(x_lanes), unnest(x_modes),
                    unnest(x_statuses), unnest(x_attempt_counts), unnest(x_events),
                    unnest(x_parents), unnest(x_keys), unnest(x_inputs), unnest(x_outputs),
                    unnest(x_errors), unnest(x_attempts)
                on conflict do nothing
                returning part, fin, tenant, action, status, attempt_count, started_at, ended_at
            ), numbered as (
                insert into engine.fin (part, fin)
                select part, max(fin) from stored group by part
                on conflict do nothing
            )
            insert into engine.stat (
                last_at, tenant, action, completed, failed, cancelled, retries, duration_ms)
            select
                max(ended_at), tenant, action,
                count(*) filter (where status = 2),
                count(*) filter (where status in (3, 6)),
                count(*) filter (where status = 5),
                sum(greatest(attempt_count - 1, 0)),
                coalesce(sum(floor(extract(epoch from ended_at - started_at) * 1000))::int8, 0)
            from stored
            group by tenant, action;
        end;

        if exists (select from unnest(x_fingerprints) as print (text) where text is not null) then
            -- Only for the ends that were written just now, under our own epoch.
            insert into engine.dead (id, died_at, tenant, action, fingerprint)
            select execution.id, execution.ended_at, execution.tenant, execution.action, fingerprint
            from unnest(x_tenants, x_ids, x_epochs, x_fins, x_fingerprints)
                as given (tenant, id, epoch, fin, fingerprint)
            join engine.execution using (tenant, id, epoch, fin)
            where fingerprint is not null
            on conflict do nothing;
        end if;

        -- From wherever it lives, with its mark and its cancel.
        delete from engine.later where id = any (x_ids);
        delete from engine.running where id = any (x_ids);
        delete from engine.control where id = any (x_ids);
    end if;

    return cardinality(x_ids);
end
$$;


-- Gives the works of stored ingests the next places in their partitions' logs, or a place among
-- the later items when they have a delay. Answers the first number for each partition. `after`
-- is there to be evaluated first.
create function engine.enqueue_v1(
    after int4, verdicts int2[],
    w_ingests int4[], w_parts int2[], w_ids uuid[], w_tenants int4[], w_lanes int2[],
    w_actions int4[], w_defs int8[], w_keys text[], w_modes int2[], w_events uuid[],
    w_parents uuid[], w_queued timestamptz[], w_delays int8[], w_depths int2[], w_inputs text[],
    link_ingests int4[], link_events uuid[], link_ids uuid[],
    out parts int2[], out firsts int8[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
declare
    segment int4 := engine.segment_of(clock_timestamp());
    oldest_segment int4;
    wanted int2[];
    locked int4;
begin
    select array_agg(distinct part)
    from unnest(w_ingests, w_parts) as given (ingest, part)
    where verdicts[ingest] = 0
    into wanted;
    if wanted is null then
        return;
    end if;

    perform from engine.tail where part = any (wanted) order by part for no key update;
    get diagnostics locked = row_count;
    if locked < cardinality(wanted) then
        raise exception 'there is no such partition' using errcode = 'AX002';
    end if;

    -- Only now: these statements see all that the former holders of the locks have written. Four
    -- times a day the logs enter their next segment; a clock that goes back does not take them
    -- back.
    select greatest(segment, max(seg)), min(seg) from engine.tail where part = any (wanted)
    into segment, oldest_segment;
    if oldest_segment < segment then
        update engine.tail
        set base = coalesce(
                (select work.seq from engine.work
                 where work.seg = tail.seg and work.part = tail.part
                 order by work.seq desc limit 1),
                base),
            seg = segment
        where part = any (wanted) and seg < segment;
    end if;

    -- All these logs are in the same segment, so that only one partition of the table is opened.
    with ends as materialized (
        select
            tail.part,
            coalesce(
                (select work.seq from engine.work
                 where work.seg = segment and work.part = tail.part
                 order by work.seq desc limit 1),
                tail.base) as last
        from engine.tail
        where part = any (wanted)
    ), placed as materialized (
        -- A delayed item takes no number, but the place in the order that it would have had.
        select
            given.*,
            ends.last + 1 + count(*) filter (where pause is null) over (
                partition by part order by n
                rows between unbounded preceding and 1 preceding) as ord
        from (
            select
                unnest(w_ingests) as ingest, unnest(w_parts) as part, unnest(w_ids) as id,
                unnest(w_tenants) as tenant, unnest(w_lanes) as lane, unnest(w_actions) as action,
                unnest(w_defs) as defs, unnest(w_keys) as key, unnest(w_modes) as mode,
                unnest(w_events) as event, unnest(w_parents) as parent,
                unnest(w_queued) as queued_at, unnest(w_delays) as pause,
                unnest(w_depths) as depth, unnest(w_inputs) as input,
                generate_series(1, cardinality(w_ids)) as n
        ) as given
        join ends using (part)
        where verdicts[ingest] = 0
    ), delayed as (
        insert into engine.later (
            id, part, ord, due, why, hold, losses, attempts, tenant, lane, action, defs, key,
            mode, event, parent, queued_at, depth, input)
        select
            id, part, ord, clock_timestamp() + pause * interval '1 microsecond', 1, false, 0,
            '[]', tenant, lane, action, defs, key, mode, event, parent, queued_at, depth, input
        from placed
        where pause is not null
        on conflict do nothing
    ), logged as (
        insert into engine.work (
            seq, defs, queued_at, seg, tenant, action, part, lane, mode, depth, id, event, parent,
            key, input)
        select
            ord, defs, queued_at, segment, tenant, action, part, lane, mode, depth, id, event,
            parent, key, input
        from placed
        where pause is null
        returning part, seq
    )
    select array_agg(part order by part), array_agg(first order by part)
    from (select part, min(seq) as first from logged group by part) as counted
    into parts, firsts;

    -- Work for an event that was stored before: a dead letter that is repeated.
    if cardinality(link_ids) > 0 then
        perform from engine.event where id = any (link_events) order by id for no key update;
        update engine.event
        set executions = executions || linked.ids
        from (
            select event, array_agg(id order by id) as ids
            from unnest(link_ingests, link_events, link_ids) as link (ingest, event, id)
            where verdicts[ingest] = 0
            group by event
        ) as linked
        where event.id = linked.event;
    end if;
end
$$;
