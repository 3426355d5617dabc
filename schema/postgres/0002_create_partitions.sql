-- Partitions by time: made days ahead, dropped whole. Default partitions take what fits nowhere,
-- so a caretaker that is late costs speed and never a commit.

create table engine.work_default partition of engine.work default;
create table engine.event_default partition of engine.event default;
create table engine.execution_default partition of engine.execution default;
create table engine.dedupe_default partition of engine.dedupe default;

-- Makes one partition, unless it is there. It is made aside and then attached, which locks the
-- default partition but not its parent; rows that landed in the default one move over.
create function engine.ensure_partition(
    parent text, suffix text, bounds text, belongs text
) returns bool
    language plpgsql
    set lock_timeout = '1s'
as $$
declare
    child text := parent || '_' || suffix;
begin
    if to_regclass(format('engine.%I', child)) is not null then
        return false;
    end if;
    execute format('create table engine.%I (like engine.%I including all)', child, parent);
    execute format(
        'with moved as (delete from engine.%I where %s returning *) insert into engine.%I select * from moved',
        parent || '_default', belongs, child);
    execute format('alter table engine.%I attach partition engine.%I %s', parent, child, bounds);
    if parent = 'work' then
        -- Dropped after a day: freezing it would be for nothing.
        execute format('alter table engine.%I set (autovacuum_vacuum_insert_threshold = -1)', child);
    end if;
    return true;
exception
    when lock_not_available then
        -- Somebody reads the default partition for long. There are days left to try again.
        raise warning 'partition engine.% could not be attached now', child;
        return false;
end
$$;

-- Makes the partitions of yesterday until `ahead` days from now, and answers how many it made.
create function engine.ensure_partitions(ahead int4 default 7) returns int4
    language plpgsql
as $$
declare
    today int4 := engine.day_of(clock_timestamp());
    starts timestamptz;
    floors uuid[];
    made int4 := 0;
begin
    if not pg_try_advisory_xact_lock(hashtext('engine.ensure_partitions')) then
        return 0;
    end if;
    for day in today - 1 .. today + ahead loop
        starts := to_timestamp(day::float8 * 86400);
        floors := array[engine.id_floor(starts), engine.id_floor(starts + interval '24 hours')];
        for number in 1 .. 2 loop
            made := made + engine.ensure_partition(
                (array['event', 'execution'])[number],
                to_char(starts at time zone 'UTC', 'YYYYMMDD'),
                format('for values from (%L) to (%L)', floors[1], floors[2]),
                format('id >= %L and id < %L', floors[1], floors[2]))::int4;
        end loop;
        made := made + engine.ensure_partition(
            'dedupe', day::text, format('for values in (%s)', day), format('day = %s', day))::int4;
    end loop;
    -- The log lives a day: three days ahead are plenty.
    for segment in (today - 1) * 4 .. (today + least(ahead, 3)) * 4 + 3 loop
        made := made + engine.ensure_partition(
            'work', segment::text,
            format('for values in (%s)', segment), format('seg = %s', segment))::int4;
    end loop;
    return made;
end
$$;


-- Housekeeping. Each function is one short transaction, may run on any node at any time, and
-- leaves the rest to the next hour when it cannot have its locks.

-- Who did what last, so that the cluster does it once.
create table engine.chore (
    name text primary key,
    done_at timestamptz not null
);
insert into engine.chore values ('hourly', '-infinity');

-- Answers true to one caller an hour.
create function engine.claim_chore_v1(given_name text) returns bool
    language plpgsql
as $$
begin
    perform from engine.chore where name = given_name and done_at < clock_timestamp() - interval '1 hour';
    if not found then
        return false;
    end if;
    perform from engine.chore
    where name = given_name and done_at < clock_timestamp() - interval '1 hour'
    for update skip locked;
    if not found then
        return false;
    end if;
    update engine.chore set done_at = clock_timestamp() where name = given_name;
    return true;
end
$$;

-- Moves what is unfinished in segments older than a day to the later items, where it is due at
-- once and keeps its order. Answers how many items moved.
create function engine.carry_old_work_v1() returns int8
    language plpgsql
    set lock_timeout = '2s'
as $$
declare
    oldest int4 := engine.segment_of(clock_timestamp()) - 4;
    moved int8;
begin
    perform from engine.work where seg < oldest limit 1;
    if not found then
        return 0;
    end if;
    -- Nobody finishes or moves an item while we do: a flush holds its lease rows as well.
    perform from engine.lease order by part for no key update;
    perform from engine.tail order by part for no key update;

    -- A log that has been silent for a day must not lose its count with its rows.
    update engine.tail
    set base = coalesce(
            (select work.seq from engine.work
             where work.seg = tail.seg and work.part = tail.part
             order by work.seq desc limit 1),
            base),
        seg = engine.segment_of(clock_timestamp())
    where seg < oldest;

    with carried as (
        insert into engine.later (
            id, ord, due, defs, queued_at, tenant, action, part, why, losses, lane, mode, depth,
            hold, event, parent, key, input, attempts)
        select
            id, seq, clock_timestamp(), defs, queued_at, tenant, action, part, 2, 0, lane, mode,
            depth, false, event, parent, key, input, '[]'
        from engine.work
        where seg < oldest
          and not exists (select from engine.execution where execution.tenant = work.tenant and execution.id = work.id)
        on conflict (id) do nothing
        returning 1
    )
    select count(*) from carried into moved;
    return moved;
end
$$;

-- Drops one partition, when nobody holds it for long.
create function engine.drop_partition(child text) returns bool
    language plpgsql
    set lock_timeout = '1s'
as $$
begin
    execute format('drop table engine.%I', child);
    return true;
exception
    when lock_not_available then
        return false;
end
$$;

-- Names the oldest partition of a table whose suffix, a number, is less than `bound`.
create function engine.old_partition(parent text, bound int8) returns text
    language sql stable
    return (
        select child.relname::text
        from pg_inherits
        join pg_class as child on child.oid = inhrelid
        where inhparent = format('engine.%I', parent)::regclass
          and substring(child.relname from '_(\d+)$')::int8 < bound
        order by child.relname
        limit 1);

-- Drops the oldest segment of the log that nobody needs any more: everything in it is finished
-- or has moved. Answers its name.
create function engine.drop_old_work_v1() returns text
    language plpgsql
as $$
declare
    segment int4;
    child text := engine.old_partition('work', engine.segment_of(clock_timestamp()) - 4);
begin
    if child is null then
        return null;
    end if;
    segment := substring(child from '_(\d+)$')::int4;
    perform from engine.work
    where seg = segment
      and not exists (
          select from engine.execution
          where execution.tenant = work.tenant and execution.id = work.id)
      and not exists (select from engine.later where later.id = work.id)
    limit 1;
    if found or exists (select from engine.tail where tail.seg = segment) then
        return null;
    end if;
    return case when engine.drop_partition(child) then child end;
end
$$;

-- Drops the oldest day of deduplication that is probed no more.
create function engine.drop_old_dedupe_v1() returns text
    language plpgsql
as $$
declare
    child text := engine.old_partition('dedupe', engine.day_of(clock_timestamp()) - 1);
begin
    return case when child is not null and engine.drop_partition(child) then child end;
end
$$;

-- Drops the oldest day of history beyond `keep_days`: executions first, because an execution may
-- not go before the log that could still hold its id. Answers the name.
create function engine.drop_old_history_v1(keep_days int4) returns text
    language plpgsql
as $$
declare
    oldest timestamptz := clock_timestamp() - make_interval(days => greatest(keep_days, 2));
    bound int8 := to_char(oldest at time zone 'UTC', 'YYYYMMDD')::int8;
    child text;
begin
    -- An item of the log is finished because its execution is there.
    if exists (select from engine.work where seg < engine.segment_of(oldest) + 4) then
        return null;
    end if;
    foreach child in array array[
        engine.old_partition('execution', bound), engine.old_partition('event', bound)]
    loop
        continue when child is null;
        if engine.drop_partition(child) then
            delete from engine.dead
            where id < engine.id_floor(to_date(bound::text, 'YYYYMMDD')::timestamp at time zone 'UTC')
              and not exists (
                  select from engine.execution
                  where execution.tenant = dead.tenant and execution.id = dead.id);
            return child;
        end if;
    end loop;
    return null;
end
$$;

-- Sums up statistics of grains below `coarse` that are older than `age`.
create function engine.sum_up_v1(coarse int2, age interval, unit text) returns void
    language sql
as $$
    with old as (
        delete from engine.stat
        where grain < coarse and last_at < clock_timestamp() - age
        returning *
    )
    insert into engine.stat (
        grain, last_at, tenant, action, completed, failed, cancelled, retries, duration_ms)
    select coarse, max(last_at), tenant, action, sum(completed), sum(failed), sum(cancelled),
           sum(retries), sum(duration_ms)
    from old
    group by tenant, action, date_trunc(unit, last_at)
$$;

-- Sums up old statistics, and forgets what nobody asks for any more.
create function engine.sweep_v1() returns void
    language plpgsql
as $$
begin
    perform engine.sum_up_v1(1::int2, interval '1 hour', 'minute');
    perform engine.sum_up_v1(2::int2, interval '2 days', 'hour');

    -- A cancel that met its finish half-way.
    delete from engine.control
    where exists (
        select from engine.execution
        where execution.tenant = control.tenant and execution.id = control.id);
    delete from engine.fin
    where fin < (select max(newest.fin) from engine.fin as newest where newest.part = fin.part);
    delete from engine.queue_metric where sampled_at < clock_timestamp() - interval '30 days';
    delete from engine.dead where closed_at < clock_timestamp() - interval '90 days';
    delete from engine.node
    where not alive
      and seen_at < clock_timestamp() - interval '90 days'
      and not exists (select from engine.lease where lease.owner = node.id);
end
$$;
