-- Limits that hold over all nodes. What is decided here is `throttle::exchange` and `Rate::draw` of
-- the domain; the contract of the port compares both.

-- What each node holds of a limit, and could use. Rows of dead nodes count for nothing.
create table engine.share (
    id int4 not null,
    node int4 not null,
    amount int4 not null,
    want int4 not null,
    -- When it last got something after it had nothing.
    took_at timestamptz not null,
    -- 0: a tenant, 1: an action.
    kind int2 not null,
    primary key (kind, id, node)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The ledger of rates: when each window will have paid for what was drawn. A crash of the
-- server empties it: then each rate lets its burst pass once more.
create unlogged table engine.rate (
    id int4 not null,
    kind int2 not null,
    minute timestamptz,
    hour timestamptz,
    primary key (kind, id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What operators have set for a tenant beside its definitions: limits, weight, pauses.
alter table engine.tenant add column controls json not null default '{}';

-- One node's side of an exchange. Locks: the node's row, then the limits, ascending.
create function engine.exchange_v1(
    own int4, kinds int2[], ids int4[], maxes int4[], keeps int4[], wants int4[], holds int4[]
) returns table (kind int2, id int4, amount int4, cap int4)
    language plpgsql
as $$
#variable_conflict use_column
declare
    ask record;
    held engine.share;
    free int8;
    total int8;
    given int8;
    own_want int8;
    target int8;
    is_somebody_hungry bool;
    got int4;
begin
    -- Whoever declares this node dead waits for us, or we see it.
    perform from engine.node where node.id = own and alive for share;
    if not found then
        raise exception 'this node was declared dead' using errcode = 'AX001', detail = '';
    end if;
    for ask in
        select * from unnest(kinds, ids, maxes, keeps, wants, holds)
            as asked (kind, id, max, keep, want, hold)
        order by kind, id
    loop
        perform pg_advisory_xact_lock(hashtext('engine.share') + ask.kind, ask.id);
        delete from engine.share
        where share.kind = ask.kind and share.id = ask.id
          and not exists (select from engine.node where node.id = share.node and alive);

        select * into held from engine.share
        where share.kind = ask.kind and share.id = ask.id and share.node = own;
        held.amount := coalesce(held.amount, 0);
        held.took_at := coalesce(held.took_at, to_timestamp(0));
        own_want := least(ask.want, ask.max);

        -- Each gets what it wants, or the same fraction of it; what cannot be divided goes to
        -- those who have waited longest.
        select
            greatest(ask.max - coalesce(sum(share.amount), 0), 0),
            coalesce(bool_or(share.want > share.amount), false),
            coalesce(sum(least(share.want, ask.max)), 0) + own_want
        into free, is_somebody_hungry, total
        from engine.share
        where share.kind = ask.kind and share.id = ask.id and share.node <> own;
        if total <= ask.max then
            target := own_want;
        else
            select coalesce(sum(least(share.want, ask.max)::int8 * ask.max / total), 0)
                + own_want * ask.max / total
            into given
            from engine.share
            where share.kind = ask.kind and share.id = ask.id and share.node <> own;
            target := own_want * ask.max / total + (
                own_want > 0 and (
                    select count(*) from engine.share
                    where share.kind = ask.kind and share.id = ask.id and share.node <> own
                      and share.want > 0
                      and (share.took_at, share.node) < (held.took_at, own)
                ) < ask.max - given)::int4;
        end if;
        if not is_somebody_hungry then
            target := greatest(target, least(ask.hold, held.amount));
        end if;
        got := greatest(least(target, free), least(ask.keep, held.amount));

        if got = 0 and ask.want = 0 then
            delete from engine.share
            where share.kind = ask.kind and share.id = ask.id and share.node = own;
        else
            insert into engine.share as known (kind, id, node, amount, want, took_at)
            values (
                ask.kind, ask.id, own, got, ask.want,
                case when held.amount = 0 and got > 0
                    then clock_timestamp() else held.took_at end)
            on conflict on constraint share_pkey do update
            set amount = excluded.amount, want = excluded.want, took_at = excluded.took_at
            where (known.amount, known.want) <> (excluded.amount, excluded.want);
        end if;
        kind := ask.kind;
        id := ask.id;
        amount := got;
        cap := least(got, target);
        return next;
    end loop;
end
$$;

-- What one window of a rate has, in starts: `paid_at` moved by the cost of what was drawn.
create function engine.draw_v1(
    kinds int2[], ids int4[], wants int4[], minute_costs int8[], minute_bursts int4[],
    minute_blocks int4[], hour_costs int8[], hour_bursts int4[], hour_blocks int4[]
) returns table (kind int2, id int4, count int4, again_us int8)
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
