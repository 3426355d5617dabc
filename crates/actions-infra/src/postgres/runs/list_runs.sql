select *
from engine.run
where tenant = $1
  and ($2::text is null or name = $2)
  and ($3::int2 is null or status = $3)
  and ($4::uuid is null
       or (started_at, id) < (select started_at, id from engine.run where tenant = $1 and id = $4))
order by started_at desc, id desc
limit $5
