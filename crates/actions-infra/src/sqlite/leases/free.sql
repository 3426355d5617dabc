-- Partitions that no living node owns, with all that their next owner has to know.
select lease.part, lease.epoch, lease.clean, lease.low, tail.next as tail, tail.fin
from engine_lease as lease
join engine_tail as tail on tail.part = lease.part
where not exists (
    select 1 from engine_node as node where node.id = lease.owner and node.alive = 1
)
order by lease.part
limit ?1
