-- The items that are marked as started, from wherever they live. There are few: marks are only
-- written while a node does not trust its predecessor.
select
    later.id, later.tenant, later.lane, later.action, later.defs, later.akey, later.amode,
    later.event, later.parent, later.queued_at, later.depth, later.input, later.part,
    later.ord, later.attempts, later.losses, true as is_later,
    (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = later.id) as terms
from engine_running as running
join engine_later as later on later.id = running.id
where running.part = ?1
union all
select
    work.id, work.tenant, work.lane, work.action, work.defs, work.akey, work.amode,
    work.event, work.parent, work.queued_at, work.depth, work.input, work.part,
    work.seq, '[]', 0, false,
    (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = work.id)
from engine_running as running
join engine_work as work on work.tenant = running.tenant and work.id = running.id
where running.part = ?1
    and not exists (select 1 from engine_later as later where later.id = running.id)
order by ord
