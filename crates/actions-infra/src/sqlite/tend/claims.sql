-- Claims that nobody holds any more.
delete from engine_claim
where (tenant, k) in (
    select tenant, k
    from engine_claim
    where coalesce(until, 0) < ?1
    and not (
        (exists (
            select 1 from engine_later as later
            where later.tenant = engine_claim.tenant and later.id = engine_claim.execution)
        or exists (
            select 1 from engine_work as work
            where work.tenant = engine_claim.tenant and work.id = engine_claim.execution))
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = engine_claim.tenant
                and execution.id = engine_claim.execution)
    )
    limit ?2
)
