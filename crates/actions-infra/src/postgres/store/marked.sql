-- Items that were written down as started, from wherever they live. One that has both homes for
-- a moment lives among the later ones.
select
    item.id, running.part, item.ord, item.tenant, item.lane, item.action, item.defs, item.key,
    item.mode, item.event, item.parent, item.queued_at, item.depth, item.input, item.is_later,
    item.attempts, item.losses,
    (select case
            when superseded_by is null then body
            else (body::jsonb || jsonb_build_object('superseded_by', superseded_by))::text
        end
     from engine.terms where terms.id = item.id) as terms
from engine.running
cross join lateral (
    select
        id, ord, tenant, lane, action, defs, key, mode, event, parent, queued_at, depth, input,
        true as is_later, attempts, losses
    from engine.later
    where later.id = running.id
    union all
    select
        id, seq, tenant, lane, action, defs, key, mode, event, parent, queued_at, depth, input,
        false, null, 0::int2
    from engine.work
    where work.tenant = running.tenant and work.id = running.id
    order by is_later desc
    limit 1
) as item
where running.part = $1
  and (select true from engine.execution
       where execution.tenant = running.tenant and execution.id = running.id) is null
order by item.ord, item.id
