-- The oldest rows, as many as may be in memory at once, but always one. Rows are deleted when
-- they have moved, so one that is committed late is found late and not missed.
select id, tenant, body
from (
    select
        id, tenant, body, sum(octet_length(body)) over (order by id) as bytes,
        row_number() over (order by id) as n
    from (select id, tenant, body from engine.intake order by id limit $1) as oldest
) as summed
where n = 1 or bytes <= $2
order by id
