-- Timers that are due soon, with what time it is here.
select clock_timestamp() as now, due.tenant, due.part, due.run, due.call, due.due_at
from (select 1) as one
left join lateral (
    select found.*
    from unnest($1::int2[]) as own (part)
    cross join lateral (
        select tenant, run_timer.part, run, call, due_at
        from engine.run_timer
        where run_timer.part = own.part
          and due_at <= clock_timestamp() + $3 * interval '1 microsecond'
          and run <> all ($4::uuid[])
        order by due_at
        limit $2
    ) as found
    order by found.due_at
    limit $2
) as due on true
