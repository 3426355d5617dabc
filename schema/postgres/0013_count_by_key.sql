-- What executions are counted by beside their tenant and their action. Few have anything: work and
-- later items stay as they are, and a row here goes with the end of its execution.
create table engine.terms (
    id uuid primary key,
    tenant int4 not null,
    body text not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Keeps the terms of works that were stored. `after` is there to be evaluated first.
create function engine.keep_terms_v1(
    after int2[], verdicts int2[], w_ingests int4[], w_ids uuid[], w_tenants int4[],
    w_terms text[]
) returns int8
    language sql
    set plan_cache_mode = force_generic_plan
as $$
    with kept as (
        insert into engine.terms (id, tenant, body)
        select id, tenant, body
        from (
            select
                unnest(w_ingests) as ingest, unnest(w_ids) as id, unnest(w_tenants) as tenant,
                unnest(w_terms) as body
        ) as given
        where body is not null and verdicts[ingest] = 0
        on conflict do nothing
        returning 1
    )
    select count(*) from kept
$$;

-- Forgets the terms of executions that end in the same commit. They are locked already, in order.
create function engine.drop_terms_v1(after int8, ids uuid[]) returns int8
    language plpgsql
as $$
begin
    delete from engine.terms where id = any (ids);
    return after;
end
$$;

-- A node of the version before ends executions without a look at their terms. Answers how many
-- went. Each one is asked for by itself: joined, all of the history might be read.
create function engine.sweep_terms_v1() returns int8
    language sql
as $$
    with gone as (
        delete from engine.terms
        where id = any (array(
            select terms.id
            from engine.terms
            where (
                select true
                from engine.execution
                where execution.tenant = terms.tenant and execution.id = terms.id
            ) is not null
            limit 5000))
        returning 1
    )
    select count(*) from gone
$$;

-- A subscription's rate is known by 63 bits of its id.
alter table engine.rate alter column id type int8;

-- As draw_v1, for wider numbers.
create function engine.draw_v2(
    kinds int2[], ids int8[], wants int4[], minute_costs int8[], minute_bursts int4[],
    minute_blocks int4[], hour_costs int8[], hour_bursts int4[], hour_blocks int4[]
) returns table (kind int2, id int8, count int4, again_us int8)
    language plpgsql
as $$
#variable_conflict use_column
declare
    asked record;
    known engine.rate;
    minute_owed int8;
    hour_owed int8;
    at timestamptz;
begin
    for asked in
        select * from unnest(
            kinds, ids, wants, minute_costs, minute_bursts, minute_blocks,
            hour_costs, hour_bursts, hour_blocks)
            as asked (
                kind, id, want, minute_cost, minute_burst, minute_block,
                hour_cost, hour_burst, hour_block)
        order by kind, id
    loop
        insert into engine.rate (kind, id) values (asked.kind, asked.id) on conflict do nothing;
        select * into known from engine.rate
        where rate.kind = asked.kind and rate.id = asked.id
        for update;
        -- Looked at under the lock, so that no drawer is ahead of another one.
        at := clock_timestamp();
        -- A debt from a slower rate is no larger than one of this.
        minute_owed := least(
            greatest(coalesce(extract(epoch from known.minute - at) * 1000000, 0), 0),
            asked.minute_cost * asked.minute_burst);
        hour_owed := least(
            greatest(coalesce(extract(epoch from known.hour - at) * 1000000, 0), 0),
            asked.hour_cost * asked.hour_burst);
        count := asked.want;
        if asked.minute_cost is not null then
            count := least(
                count,
                greatest(asked.minute_cost * asked.minute_burst - minute_owed, 0)
                    / asked.minute_cost);
        end if;
        if asked.hour_cost is not null then
            count := least(
                count,
                greatest(asked.hour_cost * asked.hour_burst - hour_owed, 0) / asked.hour_cost);
        end if;
        minute_owed := minute_owed + asked.minute_cost * count;
        hour_owed := hour_owed + asked.hour_cost * count;
        update engine.rate
        set minute = coalesce(at + minute_owed * interval '1 microsecond', known.minute),
            hour = coalesce(at + hour_owed * interval '1 microsecond', known.hour)
        where rate.kind = asked.kind and rate.id = asked.id;
        again_us := 0;
        if count < asked.want then
            again_us := greatest(
                0,
                minute_owed + asked.minute_cost * (asked.minute_block - asked.minute_burst),
                hour_owed + asked.hour_cost * (asked.hour_block - asked.hour_burst));
        end if;
        kind := asked.kind;
        id := asked.id;
        return next;
    end loop;
end
$$;
