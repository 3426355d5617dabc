select * from engine_schedule
where ?1 is null or tenant = ?1
order by tenant, name
