-- The newest letter of each group lends its error.
select grouped.*, execution.error
from (
    select
        fingerprint, action, count(*) as count, min(died_at) as first_at, max(died_at) as last_at,
        (array_agg(id order by id desc))[1] as newest
    from engine.dead
    where tenant = $1 and closed is null
    group by fingerprint, action
    order by count(*) desc, fingerprint, action
    limit $2
) as grouped
left join engine.execution on execution.tenant = $1 and execution.id = grouped.newest
order by grouped.count desc, grouped.fingerprint, grouped.action
