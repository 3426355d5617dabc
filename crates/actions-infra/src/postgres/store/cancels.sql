-- A cancel that crossed its item's end is answered already. Of executions whose places were taken
-- the first ones: the others are told of as these end.
(select tenant, id, null::uuid as superseded_by
 from engine.control
 where (select true from engine.execution
        where execution.tenant = control.tenant and execution.id = control.id) is null
 order by at, id)
union all
(select tenant, id, superseded_by
 from engine.terms
 where superseded_by is not null
   and (select true from engine.execution
        where execution.tenant = terms.tenant and execution.id = terms.id) is null
 order by id
 limit 10000)
