-- Who holds or wants something of a limit. The dead count for nothing.
select share.node, share.amount, share.want, share.took_at
from engine_share as share
join engine_node as node on node.id = share.node and node.alive = 1
where share.kind = ?1 and share.id = ?2
