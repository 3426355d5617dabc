with created as (
    insert into engine.bulk (tenant, id, ended_at, record) values ($1, $2, $3, $4)
)
insert into engine.bulk_item (bulk, number, target)
select $2, number, target
from unnest($5::uuid[]) with ordinality as item (target, number)
