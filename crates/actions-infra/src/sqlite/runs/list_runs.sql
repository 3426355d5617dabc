select *
from engine_run
where tenant = ?1
  and (?2 is null or name = ?2)
  and (?3 is null or status = ?3)
  and (?4 is null
       or (started_at, id) < (select started_at, id from engine_run where tenant = ?1 and id = ?4))
order by started_at desc, id desc
limit ?5
