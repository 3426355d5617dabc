delete from engine_event
where id in (
    select event.id
    from engine_event as event
    where event.tenant = ?1
        and event.id < ?2
        and not exists (select 1 from temp.needed_event as needed where needed.id = event.id)
    order by event.id
    limit ?3
)
