-- What running attempts told of themselves: that they live, how far they are, and where the next
-- attempt may go on. Written every ten seconds at most, by the owner of the partition, and removed
-- with the end of the execution. Most executions never have a row here.
create table engine.report (
    id uuid primary key,
    told_at timestamptz not null,
    progress float8,
    tenant int4 not null,
    attempt int4 not null,
    part int2 not null,
    note text,
    checkpoint text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index report_part on engine.report (part);

-- Keeps the last report of each execution, and forgets those of what has just ended. The leases
-- are proven and held by `engine.settle_v1`, whose answer `after` is.
create function engine.report_v1(
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
