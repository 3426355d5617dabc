-- Executions that gather into one, which runs with all their events.

-- Batches that others may join. A row goes with the commit that closes its batch; one that a node of
-- the version before has ended goes when the next one wants to join.
create table engine.batch (
    bytes int8 not null,
    head uuid not null,
    tenant int4 not null,
    size int4 not null,
    part int2 not null,
    key bytea not null,
    primary key (tenant, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What joined, as handlers see it. Kept as long as the head.
create table engine.member (
    head uuid not null,
    event uuid,
    tenant int4 not null,
    action int4 not null,
    -- From 1: the head is before them.
    place int4 not null,
    body text not null,
    primary key (head, place)
);
create index member_tenant on engine.member (tenant, head);
create index member_event on engine.member (event) where event is not null;

-- Decides what begins a batch and what joins one, and closes those whose heads begin or end in
-- this flush (`e_heads`). What joins gets ingest 0, for which there is no verdict: its event says so
-- by the row in `engine.member`, and names an execution that there is none of. `after` is there to be
-- evaluated first.
--
-- Locks, after the claims and before the leases: the batches, in the order of their keys. The
-- batch's row is the lock: whoever closes it waits for whoever joins it, and what joins after that
-- finds no row and begins the next batch. Open heads among the later items are only written by who
-- holds their batch's row. The decision is that of `Gathering::judge`.
create function engine.admit_batches_v1(
    after int8, verdicts int2[], sub_keys bytea[], in_subs int4[], in_keys bytea[],
    w_ingests int4[], w_parts int2[], w_ids uuid[], w_tenants int4[], w_actions int4[],
    w_events uuid[], w_parents uuid[], w_delays int8[],
    g_works int4[], g_keys bytea[], g_sizes int4[], g_bodies text[], bytes_max int8,
    r_works int4[], e_tenants int4[], e_keys bytea[], e_heads uuid[],
    out ingests int4[], out delays int8[], out joined uuid[], out joined_to uuid[],
    out closed int2[]
)
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    at timestamptz := clock_timestamp();
    today int4 := engine.day_of(at);
    given record;
    known engine.batch;
    -- The work of this flush that is the head, and the gathering one that is looked at.
    begun int4;
    gathering int4;
    work int4;
    more int8;
    is_full bool;
    full_heads uuid[] := '{}';
    heads uuid[] := '{}';
    places int4[] := '{}';
    members int4[] := '{}';
begin
    ingests := w_ingests;
    delays := w_delays;
    for given in
        select
            tenant, key,
            array_agg(n order by n) filter (where n is not null) as gatherings,
            array_agg(head) filter (where head is not null) as ends
        from (
            select w_tenants[work] as tenant, key, n::int4, null::uuid as head
            from unnest(g_works, g_keys) with ordinality as gathered (work, key, n)
            where verdicts[w_ingests[work]] = 0
            union all
            select tenant, key, null, head
            from unnest(e_tenants, e_keys, e_heads) as ended (tenant, key, head)
        ) as wanted
        group by tenant, key
        order by tenant, key
    loop
        if given.ends is not null then
            delete from engine.batch
            where tenant = given.tenant and key = given.key and head = any (given.ends);
        end if;
        continue when given.gatherings is null;

        loop
            select * into known from engine.batch
            where tenant = given.tenant and key = given.key
            for update;
            exit when found;
            -- Of nobody yet. When somebody else was quicker, it is theirs.
            insert into engine.batch (tenant, key, head, part, size, bytes)
            values (given.tenant, given.key, w_ids[g_works[given.gatherings[1]]], 0, 0, 0)
            on conflict do nothing;
        end loop;
        -- A node of the version before closes nothing, and what is to be cancelled is joined no more.
        if known.size > 0 and (
            not engine.is_unfinished_v1(given.tenant, known.head)
            or exists (select from engine.control where id = known.head)
        ) then
            known.size := 0;
        end if;
        begun := null;

        foreach gathering in array given.gatherings loop
            work := g_works[gathering];
            more := octet_length(g_bodies[gathering]);
            is_full := known.size > 0 and known.bytes + more > bytes_max;
            if is_full then
                closed := closed || known.part;
                if begun is null then
                    full_heads := full_heads || known.head;
                else
                    delays[begun] := 0;
                end if;
            end if;
            if known.size = 0 or is_full then
                begun := work;
                known.head := w_ids[work];
                known.part := w_parts[work];
                known.size := 1;
                known.bytes := more;
            else
                heads := heads || known.head;
                places := places || known.size;
                members := members || gathering;
                known.size := known.size + 1;
                known.bytes := known.bytes + more;
                ingests[work] := 0;
                joined := joined || w_ids[work];
                joined_to := joined_to || known.head;
                if w_events[work] is null then
                    update engine.dedupe
                    set subject = case when subject = w_ids[work] then known.head else subject end,
                        subjects = array_replace(subjects, w_ids[work], known.head)
                    where day in (today - 1, today) and tenant = given.tenant
                      and key in (
                          in_keys[w_ingests[work]], sub_keys[in_subs[w_ingests[work]]]);
                end if;
            end if;
            if known.size >= g_sizes[gathering] or known.bytes >= bytes_max then
                closed := closed || known.part;
                if begun is null then
                    full_heads := full_heads || known.head;
                else
                    delays[begun] := 0;
                end if;
                known.size := 0;
                begun := null;
            end if;
        end loop;

        if known.size = 0 then
            delete from engine.batch where tenant = given.tenant and key = given.key;
        else
            update engine.batch
            set head = known.head, part = known.part, size = known.size, bytes = known.bytes
            where tenant = given.tenant and key = given.key;
        end if;
    end loop;

    if cardinality(members) > 0 then
        insert into engine.member (head, place, tenant, action, event, body)
        select
            head, place, w_tenants[g_works[member]], w_actions[g_works[member]],
            w_events[g_works[member]], g_bodies[member]
        from unnest(heads, places, members) as new (head, place, member);
    end if;
    if cardinality(full_heads) > 0 then
        update engine.later set due = at where id = any (full_heads) and due > at;
    end if;
    -- What repeats a dead batch has its members.
    if cardinality(r_works) > 0 then
        insert into engine.member (head, place, tenant, action, event, body)
        select w_ids[again.work], place, tenant, action, event, body
        from unnest(r_works) as again (work)
        join engine.member on member.head = w_parents[again.work]
        where verdicts[w_ingests[again.work]] = 0;
    end if;
end
$$;

-- Forgets a part of what joined batches that are beyond their days, of one tenant or of all, and
-- answers how many that were. Each head is asked for by itself: joined, all of the history might be
-- read.
create function engine.expire_members_v1(given_tenant int4, keep_days int4) returns int8
    language plpgsql
as $$
declare
    bound uuid := engine.id_floor(
        clock_timestamp() - make_interval(days => greatest(keep_days, 2)));
    gone int8;
begin
    delete from engine.member
    where (head, place) in (
        select member.head, member.place
        from engine.member
        where member.head < bound
          and (given_tenant is null or member.tenant = given_tenant)
          and (select true from engine.execution
               where execution.tenant = member.tenant and execution.id = member.head) is null
          and not engine.is_unfinished_v1(member.tenant, member.head)
        order by member.head, member.place
        limit 5000);
    get diagnostics gone = row_count;
    return gone;
end
$$;
