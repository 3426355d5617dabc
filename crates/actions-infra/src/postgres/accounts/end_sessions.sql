-- In the order of their ids, as uses are noted: neither waits for the other.
with held as materialized (
    select id
    from engine.session
    where id = any($1) and ended_at is null
    order by id
    for no key update
)
update engine.session as session
set ended_at = $2, version = $3
from held
where session.id = held.id
