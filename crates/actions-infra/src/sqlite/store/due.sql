-- Later items by due time, held ones first: they keep others from starting. Two ranges of one
-- index, each read no further than needed, and those that are to be cancelled or whose
-- place was taken.
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at, depth, input, part,
        ord, attempts, losses, due, why, hold,
        (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = engine_later.id) as terms
    from engine_later
    where part = ?1 and hold = 1 and due <= ?2
    order by due, id
    limit ?3
)
union all
select * from (
    select
        id, tenant, lane, action, defs, akey, amode, event, parent, queued_at, depth, input, part,
        ord, attempts, losses, due, why, hold,
        (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = engine_later.id) as terms
    from engine_later
    where part = ?1 and hold = 0 and due <= ?2
    order by due, id
    limit ?3
)
union all
select * from (
    select
        later.id, later.tenant, lane, action, defs, akey, amode, event, parent, queued_at, depth,
        input, part, ord, attempts, losses, due, why, hold,
        (select iif(superseded_by is null, body,
            json_set(body, '$.superseded_by', superseded_by))
            from engine_terms as terms where terms.id = later.id) as terms
    from engine_control join engine_later as later on later.id = engine_control.id
    where part = ?1 and due > ?2
    order by due, later.id
    limit ?3
)
union all
select * from (
    select
        later.id, later.tenant, lane, action, defs, akey, amode, event, parent, queued_at, depth,
        input, part, ord, attempts, losses, due, why, hold,
        json_set(body, '$.superseded_by', superseded_by) as terms
    from engine_terms join engine_later as later on later.id = engine_terms.id
    where superseded_by is not null
        and not exists (select 1 from engine_control where engine_control.id = engine_terms.id)
        and part = ?1 and due > ?2
    order by due, later.id
    limit ?3
)
order by hold desc, due, id
limit ?3
