-- Removes the oldest entries of a log that have another home by now. `low` alone is not trusted
-- with it: it is a hint, and an entry that is nowhere else would be lost.
delete from engine_work
where part = ?1 and seq in (
    select work.seq
    from engine_work as work
    where work.part = ?1
        and work.seq < ?2
        and (
            exists (
                select 1 from engine_execution as execution
                where execution.tenant = work.tenant and execution.id = work.id
            )
            or exists (select 1 from engine_later as later where later.id = work.id)
        )
    order by work.seq
    limit ?3
)
