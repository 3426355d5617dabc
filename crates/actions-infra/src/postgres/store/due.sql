-- Later items of one partition: held ones first, each kind in the order of its index. Those that
-- are to be cancelled, or whose place was taken, come whenever they are due.
select
    id, part, ord, tenant, lane, action, defs, key, mode, event, parent, queued_at, depth, input,
    true as is_later, attempts, losses, why, hold,
    (select case
            when superseded_by is null then body
            else (body::jsonb || jsonb_build_object('superseded_by', superseded_by))::text
        end
     from engine.terms where terms.id = found.id) as terms,
    greatest(extract(epoch from due - clock_timestamp()) * 1000000, 0)::int8 as pause
from (
    (select * from engine.later
     where part = $1 and hold and due <= clock_timestamp() + $2 * interval '1 microsecond'
     order by due, id limit $3)
    union all
    (select * from engine.later
     where part = $1 and not hold and due <= clock_timestamp() + $2 * interval '1 microsecond'
     order by due, id limit $3)
    union all
    (select later.* from engine.control join engine.later using (id)
     where later.part = $1 and due > clock_timestamp() + $2 * interval '1 microsecond'
     order by due, id limit $3)
    union all
    (select later.* from engine.terms join engine.later using (id)
     where terms.superseded_by is not null
       and not exists (select from engine.control where control.id = terms.id)
       and later.part = $1 and due > clock_timestamp() + $2 * interval '1 microsecond'
     order by due, id limit $3)
) as found
order by hold desc, due, id
limit $3
