-- Several nodes note uses of one session, in any order. Rows are locked in the order of their ids,
-- so two batches never wait for one another.
with used as materialized (
    select session.id, given.at
    from engine.session as session
    join unnest($1::uuid[], $2::timestamptz[]) as given (id, at) on given.id = session.id
    where session.last_used_at < given.at
    order by session.id
    for no key update of session
)
update engine.session as session
set last_used_at = used.at
from used
where session.id = used.id
