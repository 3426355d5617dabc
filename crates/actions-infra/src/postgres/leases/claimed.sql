-- What the partitions hold that were claimed before: a statement of its own, because one that
-- also claims would read from before its wait, and just-finished items would run again.
select
    lease.part, lease.low,
    coalesce(
        (select work.seq from engine.work
         where work.seg = tail.seg and work.part = tail.part
         order by work.seq desc limit 1),
        tail.base) + 1 as tail,
    coalesce((select max(fin.fin) from engine.fin where fin.part = lease.part), 0) + 1 as next_fin
from engine.lease
join engine.tail using (part)
where lease.owner = $1 and lease.part = any ($2)
