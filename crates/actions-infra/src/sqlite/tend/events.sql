delete from engine_event
where id in (
    select event.id
    from engine_event as event
    where event.tenant = ?1
        and event.id < ?2
        and not exists (select 1 from temp.needed_event as needed where needed.id = event.id)
        -- Somebody may have requeued a dead execution since then.
        and not exists (
            select 1 from engine_work as work
            where work.parent is not null and work.event = event.id
        )
        and not exists (
            select 1 from engine_later as later
            where later.parent is not null and later.event = event.id
        )
    order by event.id
    limit ?3
)
