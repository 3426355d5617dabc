-- One seek for each tenant, by the index on the end. Statuses: 2 completed, 3 failed, 5 cancelled,
-- 6 timeout.
select
    execution.tenant as tenant,
    count(*) filter (where status = 2) as completed,
    count(*) filter (where status in (3, 6)) as failed,
    coalesce(sum((ended_at - started_at) / 1000), 0) as duration_ms
from engine_tenant as tenant
cross join engine_execution as execution indexed by engine_execution_by_end
    on execution.tenant = tenant.id
where execution.ended_at >= ?1 and status in (2, 3, 6)
group by execution.tenant
order by execution.tenant
