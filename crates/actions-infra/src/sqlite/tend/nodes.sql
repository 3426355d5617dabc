-- Processes that are gone and own nothing.
delete from engine_node
where alive = 0
    and joined_at < ?1
    and id not in (select owner from engine_lease where owner is not null)
