-- Rows are deleted when they have moved, so one that is committed late is found late and not
-- missed.
select id, tenant, body
from engine.intake
order by id
limit $1
