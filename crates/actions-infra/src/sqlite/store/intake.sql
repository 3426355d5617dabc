-- The oldest rows, as many as may be in memory at once, but always one. `octet_length` reads a
-- large text's header only.
select id, tenant, body
from (
    select id, tenant, body, sum(octet_length(body)) over (order by id) as bytes,
        row_number() over (order by id) as n
    from (select id, tenant, body from engine_intake order by id limit ?1)
)
where n = 1 or bytes <= ?2
order by id
