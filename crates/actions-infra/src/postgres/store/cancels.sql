-- A cancel that crossed its item's end is answered already.
select tenant, id
from engine.control
where (select true from engine.execution
       where execution.tenant = control.tenant and execution.id = control.id) is null
order by at, id
