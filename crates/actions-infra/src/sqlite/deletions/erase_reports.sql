delete from engine_report where id in (
    select engine_report.id
    from engine_report
    where exists (
            select 1 from engine_work
            where engine_work.tenant = ?1 and engine_work.id = engine_report.id)
       or exists (
            select 1 from engine_later
            where engine_later.tenant = ?1 and engine_later.id = engine_report.id)
    limit ?2)
