-- Shares of processes that are gone count for nothing.
delete from engine_share where node not in (select id from engine_node where alive = 1)
