-- Tenants that are deleted: what is known of them afterwards, and how what they had is removed.

-- One row for each tenant that is gone or goes. Its slug is never given again. The record has the
-- certificate when nothing is left.
create table engine.tenant_deletion (
    finished_at timestamptz,
    -- When everybody had ended who could still write for the tenant.
    settled_at timestamptz,
    -- Of `engine.api_key_version`, when its keys were taken away: their rows may be gone before
    -- every node has heard of that.
    key_version int8 not null,
    id int4 primary key,
    keys uuid[] not null,
    -- Transactions that had begun before the last of them could know.
    waits_for text[],
    slug text collate "C" not null unique,
    record text not null
);

-- Some tenant was deleted: whoever writes under this lease looks whether what it writes is left
-- out. The row is read and locked by every flush anyway.
alter table engine.lease add column tenant_gone bool not null default false;

-- The audit of a tenant goes with it; the platform's has the hash of its last entry.
create or replace function engine.refuse_audit_change_v1() returns trigger
    language plpgsql
as $$
begin
    if tg_op = 'DELETE' then
        if exists (select from engine.tenant_deletion where id = old.tenant) then
            return old;
        end if;
    end if;
    raise exception 'the audit is only appended to' using errcode = 'AX002';
end
$$;

-- Takes back what a flush has just written of tenants that are gone: it had begun before.
create function engine.leave_out_v1(ids uuid[], tenants int4[]) returns void
    language plpgsql
as $$
declare
    gone int4[] := array(select id from engine.tenant_deletion where id = any (tenants));
begin
    if gone = '{}' then
        return;
    end if;
    delete from engine.execution where tenant = any (gone) and id = any (ids);
    delete from engine.dead where tenant = any (gone) and id = any (ids);
    delete from engine.later where tenant = any (gone) and id = any (ids);
    delete from engine.running where tenant = any (gone) and id = any (ids);
    delete from engine.stat where tenant = any (gone);
end
$$;

-- As before, and what is of a tenant that is gone is left out.
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
    has_gone bool;
begin
    -- Proves that this node still holds every lease that it writes under. A takeover updates the
    -- same rows: it waits for us, or we find its new epoch and a row is missing. The rows are
    -- locked, not updated: a version for each flush would rot under any long snapshot. No clock
    -- takes part in this.
    select array_agg(part), bool_or(tenant_gone)
    from (
        select lease.part, lease.tenant_gone
        from engine.lease
        join unnest(fence_parts, fence_epochs) as wanted (part, epoch)
            on lease.part = wanted.part and lease.epoch = wanted.epoch
        where lease.owner = writer
        order by lease.part
        for no key update of lease
    ) as locked
    into held, has_gone;

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

    if has_gone then
        perform engine.leave_out_v1(
            mark_ids || l_ids || x_ids, mark_tenants || l_tenants || x_tenants);
    end if;
    return cardinality(x_ids);
end
$$;

-- As before, and what is of a tenant that is gone is left out.
create or replace function engine.report_v1(
    after int4, x_ids uuid[],
    r_ids uuid[], r_tenants int4[], r_parts int2[], r_attempts int4[], r_told timestamptz[],
    r_progress float8[], r_notes text[], r_checkpoints text[]
) returns int4
    language plpgsql
    set plan_cache_mode = force_generic_plan
as $$
begin
    if cardinality(r_ids) > 0 then
        -- Of two reports of one flush the later one counts.
        insert into engine.report (
            id, told_at, progress, tenant, attempt, part, note, checkpoint)
        select distinct on (id)
            id, told_at, progress, tenant, attempt, part, note, checkpoint
        from unnest(
            r_ids, r_tenants, r_parts, r_attempts, r_told, r_progress, r_notes, r_checkpoints
        ) with ordinality as given (
            id, tenant, part, attempt, told_at, progress, note, checkpoint, n)
        where not exists (
            select from engine.execution
            where execution.tenant = given.tenant and execution.id = given.id)
          and not exists (
            select from engine.tenant_deletion where tenant_deletion.id = given.tenant)
        order by id, n desc
        on conflict (id) do update
        set told_at = excluded.told_at, progress = excluded.progress, attempt = excluded.attempt,
            part = excluded.part, note = excluded.note, checkpoint = excluded.checkpoint;
    end if;
    -- The table is mostly empty, and asking costs less than looking for every end.
    if cardinality(x_ids) > 0 and exists (select from engine.report) then
        delete from engine.report where id = any (x_ids);
    end if;
    return after;
end
$$;

-- Takes a tenant away: from now on nobody finds it, so nothing new is written for it. Whoever
-- changes its definitions, keys or secrets holds the lock of its row, and is waited for.
create function engine.begin_deletion_v1(given_tenant int4, given_record text) returns void
    language plpgsql
as $$
declare
    next_version int8;
begin
    update engine.api_key_version set version = version + 1 returning version into next_version;
    insert into engine.tenant_deletion (id, key_version, keys, slug, record)
    select
        tenant.id, next_version,
        array(select api_key.id from engine.api_key where api_key.tenant = tenant.id),
        tenant.slug, given_record
    from engine.tenant
    where tenant.id = given_tenant;
    update engine.api_key
    set revoked_at = clock_timestamp(), version = next_version
    where tenant = given_tenant and revoked_at is null;
    delete from engine.tenant where id = given_tenant;
end
$$;

-- From the next flush on, what is of tenants that are gone is left out. Answers nothing before all
-- flushes have ended that could not know.
create function engine.prepare_erasure_v1() returns void
    language plpgsql
    set lock_timeout = '2s'
as $$
begin
    perform from engine.lease order by part for no key update;
    update engine.lease set tenant_gone = true where not tenant_gone;
end
$$;

-- Takes people's schema away. Whoever reads one of its views is waited for, for a moment.
create function engine.drop_schema_v1(given_tenant int4) returns void
    language plpgsql
    set lock_timeout = '2s'
as $$
declare
    slug text;
begin
    select tenant_deletion.slug from engine.tenant_deletion where id = given_tenant into slug;
    execute format('drop schema if exists %I cascade', 'tenant_' || slug);
end
$$;

-- Notes who is in a transaction now, the caller apart. They may have looked before the tenant went.
create function engine.note_writers_v1(given_tenant int4) returns void
    language sql
as $$
    update engine.tenant_deletion
    set waits_for = array(
        select held.virtualtransaction
        from pg_locks as held
        join pg_stat_activity as activity on activity.pid = held.pid
        where held.locktype = 'virtualxid' and held.granted
          and activity.datname = current_database() and held.pid <> pg_backend_pid())
    where id = given_tenant and waits_for is null
$$;

-- Whether all of them have ended. No statement of a node takes longer than twenty seconds; a
-- transaction of a user's own may, and leaves nothing but a row of the intake.
create function engine.have_writers_ended_v1(given_tenant int4, requested_at timestamptz)
    returns bool
    language sql
as $$
    select clock_timestamp() > requested_at + interval '30 seconds' or not exists (
        select from engine.tenant_deletion as deletion
        join pg_locks as held
            on held.locktype = 'virtualxid' and held.virtualtransaction = any (deletion.waits_for)
        where deletion.id = given_tenant)
$$;

-- The newest entry of a log says where its numbers go on. Where that is about to be removed, the log
-- enters its next segment, before which the number is written down.
create function engine.keep_numbers_v1(given_tenant int4) returns void
    language plpgsql
as $$
begin
    perform from engine.tail order by part for no key update;
    update engine.tail
    set base = newest.seq,
        seg = greatest(tail.seg + 1, engine.segment_of(clock_timestamp()))
    from engine.tail as known
    cross join lateral (
        select work.seq, work.tenant from engine.work
        where work.seg = known.seg and work.part = known.part
        order by work.seq desc
        limit 1
    ) as newest
    where tail.part = known.part and newest.tenant = given_tenant;
end
$$;

-- Every table that holds rows of tenants, found by its column, so that one that is added later is
-- found as well. Of what is cut into partitions, each of these.
create function engine.tenant_tables_v1()
    returns table (part_name name, table_name name, column_name name)
    language sql stable
as $$
    select part.relname, coalesce(whole.relname, part.relname), found.attname
    from pg_class as part
    join pg_attribute as found
        on found.attrelid = part.oid and found.attname in ('tenant', 'tenant_id')
        and not found.attisdropped
    left join pg_inherits on pg_inherits.inhrelid = part.oid
    left join pg_class as whole on whole.oid = pg_inherits.inhparent
    where part.relnamespace = 'engine'::regnamespace and part.relkind = 'r'
    order by 2, 1
$$;

-- Removes up to `most` rows of a tenant, but from the tables of `spared`. Answers how many by table.
-- Where row-level security would hide a row, it fails instead.
create function engine.erase_v1(given_tenant int4, most int4, spared text[])
    returns table (relation text, removed int8)
    language plpgsql
    set row_security = off
as $$
declare
    part record;
    room int8 := most;
begin
    -- What hangs on their rows, and has no tenant of its own.
    delete from engine.bulk_item where ctid = any (array(
        select item.ctid
        from engine.bulk
        join engine.bulk_item as item on item.bulk = bulk.id
        where bulk.tenant = given_tenant
        limit room));
    get diagnostics removed = row_count;
    relation := 'bulk_item';
    room := room - removed;
    return next;
    delete from engine.secret_version where ctid = any (array(
        select version.ctid
        from engine.secret
        join engine.secret_version as version on version.secret = secret.id
        where secret.tenant = given_tenant
        limit room));
    get diagnostics removed = row_count;
    relation := 'secret_version';
    room := room - removed;
    return next;
    delete from engine.api_key_token where ctid = any (array(
        select token.ctid
        from engine.api_key
        join engine.api_key_token as token on token.api_key = api_key.id
        where api_key.tenant = given_tenant
        limit room));
    get diagnostics removed = row_count;
    relation := 'api_key_token';
    room := room - removed;
    return next;

    for part in select * from engine.tenant_tables_v1() loop
        exit when room <= 0;
        continue when part.table_name = any (spared);
        execute format(
            'delete from engine.%I where ctid = any (array('
            'select ctid from engine.%I where %I = $1 limit $2))',
            part.part_name, part.part_name, part.column_name)
        using given_tenant, room;
        get diagnostics removed = row_count;
        relation := part.table_name;
        room := room - removed;
        return next;
    end loop;
end
$$;

-- How many rows of a tenant there are, by table.
create function engine.count_rows_v1(given_tenant int4)
    returns table (relation text, amount int8)
    language plpgsql
    set row_security = off
as $$
declare
    known record;
begin
    select 'bulk_item', count(*)
    from engine.bulk
    join engine.bulk_item as item on item.bulk = bulk.id
    where bulk.tenant = given_tenant
    into relation, amount;
    return next;
    for known in select * from engine.tenant_tables_v1() loop
        execute format(
            'select count(*) from engine.%I where %I = $1', known.part_name, known.column_name)
        using given_tenant into amount;
        relation := known.table_name;
        return next;
    end loop;
end
$$;
