select exists (
    select from engine.lease
    where not exists (select from engine.node where node.id = lease.owner and node.alive))
