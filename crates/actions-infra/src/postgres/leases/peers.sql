-- Everybody else who is alive, and the dead whose partitions nobody has taken yet.
select
    node.id, node.name, node.beats, node.alive,
    coalesce(
        (select array_agg(part order by part) from engine.lease where lease.owner = node.id),
        '{}') as parts
from engine.node
where node.id <> $1
  and (node.alive or exists (select from engine.lease where lease.owner = node.id))
order by node.id
