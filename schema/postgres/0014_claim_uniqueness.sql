-- Executions that are the only ones for something: until they have ended, for a time, or until a
-- newer one takes their place.

-- Who holds a claim. That its holder has ended is asked of the history, so an end writes nothing
-- here.
create table engine.claim (
    -- When the first one of a burst was accepted.
    first_at timestamptz not null,
    -- It stands until then, whether or not its holder has ended.
    until timestamptz,
    -- When its holder may start. Before that, it certainly has not.
    due timestamptz,
    execution uuid not null,
    tenant int4 not null,
    -- It stands as long as its holder has not ended.
    until_finished bool not null,
    key bytea not null,
    primary key (tenant, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Which execution takes the place of this one, if it has not started.
alter table engine.terms add column superseded_by uuid;
create index terms_superseded on engine.terms (id) where superseded_by is not null;

-- Executions that there are none of, because others hold their claims.
alter table engine.event add column yielded jsonb;

create function engine.is_unfinished_v1(given_tenant int4, given uuid) returns bool
    language sql stable
    return (
        exists (select from engine.later where later.tenant = given_tenant and later.id = given)
        or exists (select from engine.work where work.tenant = given_tenant and work.id = given))
        and not exists (
            select from engine.execution
            where execution.tenant = given_tenant and execution.id = given);

-- Decides who holds which claim. A work that yields to another one gets ingest 0, for which there
-- is no verdict. `after` is there to be evaluated first.
--
-- Locks, after the keys of events and jobs and before the leases: the claims, in the order of their
-- keys; then, in the order of their ids, the terms of their holders and of what ends in this flush
-- (`x_ids`). The claim's row is the lock: of two flushes with one key, the second waits for the
-- first and then sees its work. The decision is that of `Claim::judge`.
create function engine.admit_claims_v1(
    after int8, verdicts int2[], sub_keys bytea[], in_subs int4[], in_keys bytea[],
    w_ingests int4[], w_ids uuid[], w_tenants int4[], w_actions int4[], w_events uuid[],
    w_delays int8[], w_terms text[],
    c_works int4[], c_keys bytea[], c_finished bool[], c_periods int8[], c_conflicts int2[],
    c_waits bool[], c_max_waits int8[], x_ids uuid[],
    out ingests int4[], out delays int8[],
    out yielded uuid[], out yielded_to uuid[], out conflicts int2[],
    out superseded uuid[], out superseded_by uuid[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    at timestamptz := clock_timestamp();
    today int4 := engine.day_of(at);
    given record;
    known engine.claim;
    is_open bool;
    first timestamptz;
    pause int8;
    stored uuid[];
begin
    ingests := w_ingests;
    delays := w_delays;
    stored := array(
        select w_ids[work]
        from generate_subscripts(w_ids, 1) as work
        where verdicts[w_ingests[work]] = 0);
    -- All at once and each kind in its order, so that no two flushes wait for each other.
    perform from engine.claim
    where (tenant, key) in (
        select w_tenants[work], key from unnest(c_works, c_keys) as claimed (work, key))
    order by tenant, key
    for update;
    perform from engine.terms
    where id = any (x_ids || array(
        select claim.execution
        from unnest(c_works, c_keys) as claimed (work, key)
        join engine.claim on claim.tenant = w_tenants[work] and claim.key = claimed.key))
    order by id
    for update;
    -- So that one that is superseded in its own flush has a row.
    insert into engine.terms (id, tenant, body)
    select w_ids[work], w_tenants[work], w_terms[work]
    from unnest(c_works) as claimed (work)
    where verdicts[w_ingests[work]] = 0
    on conflict do nothing;

    for given in
        select
            work, key, finished, at + period * interval '1 microsecond' as until, conflict, waits,
            max_wait * interval '1 microsecond' as max_wait, w_ids[work] as id,
            w_tenants[work] as tenant, w_ingests[work] as ingest, w_delays[work] as delay
        from unnest(c_works, c_keys, c_finished, c_periods, c_conflicts, c_waits, c_max_waits)
            as claimed (work, key, finished, period, conflict, waits, max_wait)
        where verdicts[w_ingests[work]] = 0
        order by w_tenants[work], key, work
    loop
        pause := given.delay;
        first := at;
        insert into engine.claim (tenant, key, execution, first_at, until, until_finished, due)
        values (given.tenant, given.key, given.id, at, given.until, given.finished,
                case when given.waits then at + pause * interval '1 microsecond' end)
        on conflict do nothing;
        continue when found;

        select * into known from engine.claim
        where claim.tenant = given.tenant and claim.key = given.key
        for update;
        if not found then
            -- It was swept away just now.
            raise exception 'a claim is gone' using errcode = 'AX003';
        end if;
        is_open := known.execution = any (stored)
            or engine.is_unfinished_v1(given.tenant, known.execution);

        if given.conflict <> 2 and (known.until_finished and is_open or known.until > at) then
            ingests[given.work] := 0;
            yielded := yielded || given.id;
            yielded_to := yielded_to || known.execution;
            conflicts := conflicts || given.conflict;
            delete from engine.terms where id = given.id;
            if w_events[given.work] is not null then
                update engine.event
                set executions = array_remove(executions, given.id),
                    yielded = coalesce(event.yielded, '[]') || jsonb_build_object(
                        'action', w_actions[given.work], 'to', known.execution,
                        'on_conflict', (array['existing', 'reject'])[given.conflict + 1])
                where id = w_events[given.work];
            elsif given.conflict = 1 then
                -- What was refused takes its keys back.
                delete from engine.dedupe
                where day in (today - 1, today) and tenant = given.tenant
                  and key in (in_keys[given.ingest], sub_keys[in_subs[given.ingest]]);
            else
                update engine.dedupe
                set subject = case when subject = given.id then known.execution else subject end,
                    subjects = array_replace(subjects, given.id, known.execution)
                where day in (today - 1, today) and tenant = given.tenant
                  and key in (in_keys[given.ingest], sub_keys[in_subs[given.ingest]]);
            end if;
            continue;
        end if;

        -- One of a burst that is due has its turn, or else the burst might never run.
        if is_open and (known.until_finished or known.until > at)
            and (known.due > at or not given.waits) then
            update engine.terms set superseded_by = given.id where id = known.execution;
            superseded := superseded || known.execution;
            superseded_by := superseded_by || given.id;
            if given.waits and known.due > at then
                first := known.first_at;
            end if;
        end if;
        if given.waits then
            if given.max_wait is not null then
                pause := least(
                    pause,
                    greatest(extract(epoch from first + given.max_wait - at) * 1000000, 0)::int8);
            end if;
            delays[given.work] := pause;
        end if;
        update engine.claim
        set execution = given.id, first_at = first, until = given.until,
            until_finished = given.finished,
            due = case when given.waits then at + pause * interval '1 microsecond' end
        where claim.tenant = given.tenant and claim.key = given.key;
    end loop;
end
$$;

-- Forgets claims that nobody holds any more, and answers how many that were. What is deleted is
-- asked again once it is locked: in one statement, a holder that came meanwhile would not be seen.
create function engine.sweep_claims_v1() returns int8
    language plpgsql
as $$
declare
    tenants int4[];
    keys bytea[];
    gone int8;
begin
    select array_agg(tenant), array_agg(key) into tenants, keys
    from (
        select tenant, key
        from engine.claim
        where coalesce(until, '-infinity') < clock_timestamp()
          and not engine.is_unfinished_v1(tenant, execution)
        order by tenant, key
        limit 20000
        for update skip locked
    ) as locked;
    delete from engine.claim
    where (tenant, key) in (select * from unnest(tenants, keys))
      and coalesce(until, '-infinity') < clock_timestamp()
      and not engine.is_unfinished_v1(tenant, execution);
    get diagnostics gone = row_count;
    return gone;
end
$$;
