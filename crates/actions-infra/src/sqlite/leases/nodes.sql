-- One row for each partition of each node, or one row when it owns none; without `?1`.
select
    node.id, node.name, node.beats, node.alive, node.joined_at, node.seen_at,
    node.version, node.role, node.running, node.waiting, node.draining, lease.part
from engine_node as node
left join engine_lease as lease on lease.owner = node.id
where node.id is not ?1 and (node.alive = 1 or lease.part is not null)
order by node.id, lease.part
