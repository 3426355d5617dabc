select
    tail.part,
    coalesce(
        (select work.seq from engine.work
         where work.seg = tail.seg and work.part = tail.part
         order by work.seq desc limit 1),
        tail.base) + 1 as tail
from engine.tail
order by tail.part
