-- Old events that something unfinished needs: what waits for a time, and what the logs hold.
insert or ignore into temp.needed_event (id)
select event from engine_later where event < ?1
union
select event from engine_work where event < ?1
