-- Unfinished items of one log, in order, without those that $4 names (`Skip::number`). At most
-- 20,000 entries are looked at, so that a long finished stretch costs many short reads instead of
-- a long one; to pass over what is not wanted costs a tenth.
--
-- The probes are scalar subqueries on purpose: the planner cannot turn them into a join that
-- reads the whole history.
with ends as materialized (
    select
        tail.part,
        coalesce(
            (select work.seq from engine.work
             where work.seg = tail.seg and work.part = tail.part
             order by work.seq desc limit 1),
            tail.base) + 1 as tail,
        case when cardinality($4::int8[]) = 0 then 20000 else 200000 end as span,
        (select work.seq from engine.work
         where work.part = $1 and work.seq >= $2
         order by work.seq limit 1) as start
    from engine.tail
    where tail.part = $1
)
select
    -- Without a start it is the tail: both functions pass over nulls.
    greatest(least(ends.start + ends.span, ends.tail), $2) as next,
    work.id, work.part, work.seq as ord, work.tenant, work.lane, work.action, work.defs, work.key,
    work.mode, work.event, work.parent, work.queued_at, work.depth, work.input,
    (select case
            when superseded_by is null then body
            else (body::jsonb || jsonb_build_object('superseded_by', superseded_by))::text
        end
     from engine.terms where terms.id = work.id) as terms,
    false as is_later, null::text as attempts, 0::int2 as losses
from ends
left join lateral (
    select *
    from engine.work
    where work.part = $1 and work.seq >= ends.start
      and work.seq < least(ends.start + ends.span, ends.tail)
      and work.tenant::int8 * 8 + case when work.key is null then work.lane else 7 end
          not in (select unnest($4::int8[]))
      and (select true from engine.execution
           where execution.tenant = work.tenant and execution.id = work.id) is null
      and (select true from engine.later where later.id = work.id) is null
    order by work.seq
    limit $3
) as work on true
order by work.seq
