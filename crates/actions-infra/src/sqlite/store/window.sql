-- A stretch of one partition's log without what is finished or moved, and the log's end, from
-- one snapshot: the end must not be newer than the rows. There is one row with a null id when
-- there are no items.
select tail.next as tail, item.*
from engine_tail as tail
left join (
    select
        work.id, work.tenant, work.lane, work.action, work.defs, work.akey, work.amode,
        work.event, work.parent, work.queued_at, work.depth, work.input, work.part,
        work.seq as ord,
        (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = work.id) as terms
    from engine_work as work
    where work.part = ?1
        and work.seq >= ?2
        and work.tenant * 8 + iif(work.akey is null, work.lane, 7) not in (
            select value from json_each(?4)
        )
        -- Both are one look-up by key.
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = work.tenant and execution.id = work.id
        )
        and not exists (select 1 from engine_later as later where later.id = work.id)
    order by work.seq
    limit ?3
) as item on true
where tail.part = ?1
order by item.ord
