delete from engine_bulk_item where (bulk, number) in (
    select item.bulk, item.number
    from engine_bulk as bulk
    join engine_bulk_item as item on item.bulk = bulk.id
    where bulk.tenant = ?1
    limit ?2)
