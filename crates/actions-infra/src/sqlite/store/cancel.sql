-- Notes a request to cancel an execution that is in the log or among the later items, and not
-- finished. Both look-ups are by key.
insert into engine_control (id, tenant, asked_at)
select ?1, ?2, ?3
where (
        exists (select 1 from engine_work where tenant = ?2 and id = ?1)
        or exists (select 1 from engine_later where tenant = ?2 and id = ?1)
    )
    and not exists (select 1 from engine_execution where tenant = ?2 and id = ?1)
on conflict (id) do nothing
