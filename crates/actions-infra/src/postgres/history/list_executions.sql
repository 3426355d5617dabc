-- The newest executions of a tenant, finished or not. A live one belongs on the page only if it
-- is newer than the page's last finished one, so the log is read no further back than that.
with finished as materialized (
    select
        id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at,
        null::timestamptz as due_at, started_at, ended_at, input, output, error, attempts
    from engine.execution
    where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    order by id desc
    limit $3
), oldest as materialized (
    select coalesce(
        (select id from finished where (select count(*) from finished) >= $3 order by id limit 1),
        '00000000-0000-0000-0000-000000000000') as id
)
-- Payloads above $4 bytes stay where they are; their size is known without reading them.
select
    id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at, due_at,
    started_at, ended_at, error, attempts,
    case when octet_length(input) <= $4 then input end as input,
    octet_length(input) as input_bytes,
    case when octet_length(output) <= $4 then output end as output,
    octet_length(output) as output_bytes
from (
    select * from finished
    union all
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, due, null,
        null, input, null, null, attempts
     from engine.later
     where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and id > (select id from oldest)
       and (select true from engine.execution
            where execution.tenant = later.tenant and execution.id = later.id) is null
     order by id desc
     limit $3)
    union all
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, null, null,
        null, input, null, null, null
     from engine.work
     where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and id > (select id from oldest)
       and (select true from engine.execution
            where execution.tenant = work.tenant and execution.id = work.id) is null
       and (select true from engine.later where later.id = work.id) is null
     order by id desc
     limit $3)
) as found
order by id desc
limit $3
