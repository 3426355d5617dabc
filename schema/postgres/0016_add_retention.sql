-- Tenants may keep less than the installation. Their rows lie in one day with everybody else's, so
-- they are deleted in batches, beside the days that are dropped whole.

-- Removes a part of a tenant's history beyond its days, and answers how many rows that were.
create function engine.expire_history_v1(given_tenant int4, keep_days int4) returns int8
    language plpgsql
as $$
declare
    oldest timestamptz := clock_timestamp() - make_interval(days => greatest(keep_days, 2));
    bound uuid := engine.id_floor(oldest);
    gone int8;
begin
    -- An item of the log is finished because its execution is there.
    if exists (select from engine.work where seg < engine.segment_of(oldest) + 4) then
        return 0;
    end if;
    with old as materialized (
        select execution.id
        from engine.execution
        where execution.tenant = given_tenant
          and execution.id < bound
          -- What was asked for long ahead has an old id when it ends.
          and execution.ended_at < oldest
          and not exists (
              select from engine.work
              where work.tenant = execution.tenant and work.id = execution.id)
        order by execution.id
        limit 2000
    )
    delete from engine.execution
    using old
    where execution.tenant = given_tenant and execution.id = old.id and execution.id < bound;
    get diagnostics gone = row_count;
    if gone > 0 then
        return gone;
    end if;

    delete from engine.dead
    where dead.tenant = given_tenant
      and dead.id < bound
      and not exists (
          select from engine.execution
          where execution.tenant = dead.tenant and execution.id = dead.id);
    with old as materialized (
        select event.id
        from engine.event
        where event.tenant = given_tenant
          and event.id < bound
          and not exists (select from engine.later where later.event = event.id)
          and not exists (
              select from engine.work where work.parent is not null and work.event = event.id)
        order by event.id
        limit 2000
    )
    delete from engine.event
    using old
    where event.id = old.id and event.id < bound;
    get diagnostics gone = row_count;
    return gone;
end
$$;

-- Forgets a part of the dead letters for which nobody waits any more, and answers how many that
-- were. Their executions stay.
create function engine.expire_dead_v1(given_tenant int4, dead_letter_days int4) returns int8
    language plpgsql
as $$
declare
    gone int8;
begin
    delete from engine.dead
    where id = any (array(
        select id
        from engine.dead
        where tenant = given_tenant
          and closed is null
          and died_at < clock_timestamp() - make_interval(days => greatest(dead_letter_days, 1))
        order by id
        limit 2000));
    get diagnostics gone = row_count;
    return gone;
end
$$;
