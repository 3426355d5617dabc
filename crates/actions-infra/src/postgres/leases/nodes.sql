-- Everybody who is alive, and the dead whose partitions nobody has taken yet; without `$1`.
select
    node.id, node.name, node.beats, node.alive, node.joined_at,
    greatest(extract(epoch from clock_timestamp() - node.seen_at) * 1000, 0)::int8 as silent_ms,
    node.version, node.role, node.running, node.waiting, node.draining,
    coalesce(
        (select array_agg(part order by part) from engine.lease where lease.owner = node.id),
        '{}') as parts
from engine.node
where node.id is distinct from $1
  and (node.alive or exists (select from engine.lease where lease.owner = node.id))
order by node.id
