-- What a flush has to say of runs, after it has proven its leases. The parts touch different rows, so
-- their order does not matter, but for the inbox: a run is told to start before anything else. What is
-- of a tenant that is gone is left out.
with taken as (
    delete from engine.run_inbox where place = any ($1::int8[])
), appended as (
    insert into engine.run_entry (tenant, run, number, execution, body)
    select given.tenant, given.run, given.number, given.execution, given.body
    from unnest($2::int4[], $3::uuid[], $4::int4[], $5::uuid[], $6::text[])
        as given (tenant, run, number, execution, body)
    where exists (select from engine.tenant where tenant.id = given.tenant)
), cleared as (
    delete from engine.run_timer
    using unnest($7::uuid[], $8::int4[]) as given (run, call)
    where run_timer.run = given.run and run_timer.call = given.call
), timed as (
    insert into engine.run_timer (tenant, part, run, call, due_at)
    select given.tenant, given.part, given.run, given.call, given.due_at
    from unnest($9::int4[], $10::int2[], $11::uuid[], $12::int4[], $13::timestamptz[])
        as given (tenant, part, run, call, due_at)
    where exists (select from engine.tenant where tenant.id = given.tenant)
), stated as (
    update engine.run
    set status = given.status, entry_count = given.entry_count, updated_at = given.updated_at,
        ended_at = given.ended_at, error = given.error
    from unnest(
        $14::int4[], $15::uuid[], $16::int2[], $17::int4[], $18::timestamptz[],
        $19::timestamptz[], $20::text[]
    ) as given (tenant, id, status, entry_count, updated_at, ended_at, error)
    where run.tenant = given.tenant and run.id = given.id
), started as (
    insert into engine.run (
        tenant, id, part, name, workflow, defs, parent, parent_part, parent_call, status,
        entry_count, started_at, updated_at)
    select
        given.tenant, given.id, given.part, given.name, given.workflow, given.defs, given.parent,
        given.parent_part, given.parent_call, 0, 0, given.started_at, given.started_at
    from unnest(
        $21::int4[], $22::uuid[], $23::int2[], $24::text[], $25::int4[], $26::int8[], $27::uuid[],
        $28::int2[], $29::int4[], $30::timestamptz[]
    ) as given (
        tenant, id, part, name, workflow, defs, parent, parent_part, parent_call, started_at)
    where exists (select from engine.tenant where tenant.id = given.tenant)
    on conflict do nothing
    returning tenant, part, id
)
insert into engine.run_inbox (tenant, part, run, body)
select tenant, part, run, body
from (
    -- One that is there already is told nothing.
    select 0 as n, started.tenant, started.part, started.id as run, given.body
    from started
    join unnest($22::uuid[], $31::text[]) as given (id, body) using (id)
    union all
    select given.n, given.tenant, given.part, given.run, given.body
    from unnest($32::int4[], $33::int2[], $34::uuid[], $35::text[])
        with ordinality as given (tenant, part, run, body, n)
    where exists (select from engine.tenant where tenant.id = given.tenant)
) as told
order by n
