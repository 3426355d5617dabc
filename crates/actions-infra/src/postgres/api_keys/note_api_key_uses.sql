-- Several nodes note uses of one key, in any order. Rows are locked in the order of their ids, so
-- two batches never wait for one another.
with used as materialized (
    select api_key.id, given.at
    from engine.api_key as api_key
    join unnest($1::uuid[], $2::timestamptz[]) as given (id, at) on given.id = api_key.id
    where api_key.last_used_at is null or api_key.last_used_at < given.at
    order by api_key.id
    for no key update of api_key
)
update engine.api_key as api_key
set last_used_at = used.at
from used
where api_key.id = used.id
