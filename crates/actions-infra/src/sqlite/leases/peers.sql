-- One row for each partition of each other node, or one row when it owns none.
select node.id, node.name, node.beats, node.alive, lease.part
from engine_node as node
left join engine_lease as lease on lease.owner = node.id
where node.id <> ?1 and (node.alive = 1 or lease.part is not null)
order by node.id, lease.part
