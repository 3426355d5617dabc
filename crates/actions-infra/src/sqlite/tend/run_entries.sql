delete from engine_run_entry
where (run, number) in (
    select entry.run, entry.number
    from engine_run as run
    join engine_run_entry as entry on entry.run = run.id
    where run.tenant = ?1 and run.ended_at < ?4
    limit ?3
)
