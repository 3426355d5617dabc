-- The three functions of a flush as before, with fewer statements: starting one costs as much as
-- some rows do, and a flush of one event pays for each of them.

create or replace function engine.admit_v1(
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

    if array_remove(sub_keys, null) <> '{}' then
        select found.requests, found.verdicts
        from engine.admit_requests_v1(
            at, sub_tenants, sub_keys, sub_bodies, stales, in_subs, verdicts) as found
        into requests, verdicts;
    end if;

    if array_remove(in_keys, null) <> '{}' then
        select found.verdicts, found.subjects
        from engine.admit_keys_v1(
            at, sub_tenants, in_subs, in_keys, null, in_subjects, verdicts) as found
        into verdicts, subjects;
    end if;

    if array_remove(in_requeues, null) <> '{}' then
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
    if array_remove(sub_intakes, null) <> '{}' then
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

create or replace function engine.settle_v1(
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

    if not coalesce(held, '{}') @> fence_parts then
        select string_agg(part::text, ',' order by part)
        from unnest(fence_parts) as wanted (part)
        where not part = any (coalesce(held, '{}'))
        into lost;
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

        if array_remove(x_fingerprints, null) <> '{}' then
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
        with moved as (
            delete from engine.later where id = any (x_ids)
        ), marked as (
            delete from engine.running where id = any (x_ids)
        )
        delete from engine.control where id = any (x_ids);
    end if;

    return cardinality(x_ids);
end
$$;

create or replace function engine.enqueue_v1(
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

    -- A row that is waited for is read as whoever held it has left it. Four times a day the logs
    -- enter their next segment; a clock that goes back does not take them back.
    select count(*), greatest(segment, max(seg)), min(seg)
    from (
        select seg from engine.tail where part = any (wanted) order by part for no key update
    ) as held
    into locked, segment, oldest_segment;
    if locked < cardinality(wanted) then
        raise exception 'there is no such partition' using errcode = 'AX002';
    end if;

    -- Only now: these statements see all that the former holders of the locks have written.
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
