select number, target, handled_at, execution, refusal
from engine.bulk_item
where bulk = $2 and number > $3 and exists (
    select from engine.bulk where tenant = $1 and id = $2)
order by number
limit $4
