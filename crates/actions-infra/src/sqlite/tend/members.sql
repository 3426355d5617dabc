-- What joined a batch goes with its head.
delete from engine_member
where (head, place) in (
    select member.head, member.place
    from engine_member as member
    where member.tenant = ?1
        and member.head < ?2
        and not exists (
            select 1 from engine_execution as execution
            where execution.tenant = member.tenant and execution.id = member.head
        )
        and not exists (
            select 1 from engine_later as later
            where later.tenant = member.tenant and later.id = member.head
        )
        and not exists (
            select 1 from engine_work as work
            where work.tenant = member.tenant and work.id = member.head
        )
    order by member.head, member.place
    limit ?3
)
