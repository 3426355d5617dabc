-- Drops the oldest day of history beyond `keep_days`: executions first, because an execution may
-- not go before the log that could still hold its id. A day stays while something unfinished
-- needs one of its events, and holds up no other day. Answers the name.
create or replace function engine.drop_old_history_v1(keep_days int4) returns text
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
    for child in
        select engine.old_partition('execution', bound)
        union all
        (select days.name
         from (
             select
                 event.relname::text as name,
                 to_date(substring(event.relname from '_(\d+)$'), 'YYYYMMDD')::timestamp
                     at time zone 'UTC' as day
             from pg_inherits
             join pg_class as event on event.oid = inhrelid
             where inhparent = 'engine.event'::regclass
               and substring(event.relname from '_(\d+)$')::int8 < bound
         ) as days
         where not exists (
             select from engine.later
             where later.event >= engine.id_floor(days.day)
               and later.event < engine.id_floor(days.day + interval '1 day'))
         order by days.name)
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
