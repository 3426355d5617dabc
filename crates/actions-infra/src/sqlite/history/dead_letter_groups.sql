-- Dead letters by cause, the largest group first. The newest one of a group gives the sample.
select
    groups.fingerprint, groups.action, groups.count, groups.first_at, groups.last_at,
    execution.error as sample
from (
    select
        tenant, fingerprint, action, max(id) as newest, count(*) as count,
        min(died_at) as first_at, max(died_at) as last_at
    from engine_dead
    where tenant = ?1
    group by fingerprint, action
    order by count(*) desc, fingerprint
    limit ?2
) as groups
left join engine_execution as execution
    on execution.tenant = groups.tenant and execution.id = groups.newest
order by groups.count desc, groups.fingerprint
