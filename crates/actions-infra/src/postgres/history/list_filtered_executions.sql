-- Executions of one action or with some statuses ($4 action or null, $5 statuses or empty). Of
-- the logs only the stretches are read that may hold unfinished items.
-- Payloads above $6 bytes stay where they are; their size is known without reading them.
select
    id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at, due_at,
    started_at, ended_at, error, attempts,
    case when octet_length(input) <= $6 then input end as input,
    octet_length(input) as input_bytes,
    case when octet_length(output) <= $6 then output end as output,
    octet_length(output) as output_bytes
from (
    -- Without the completed ones, the small index of trouble answers.
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at,
        null::timestamptz as due_at, started_at, ended_at, input, output, error, attempts
     from engine.execution
     where $4::int4 is null and cardinality($5::int2[]) > 0 and not 2 = any ($5)
       and tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and status <> 2 and status = any ($5)
     order by id desc
     limit $3)
    union all
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at, null,
        started_at, ended_at, input, output, error, attempts
     from engine.execution
     where $4::int4 is null and 2 = any ($5)
       and tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and status = any ($5)
     order by id desc
     limit $3)
    union all
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, status, queued_at, null,
        started_at, ended_at, input, output, error, attempts
     from engine.execution
     where tenant = $1 and action = $4
       and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and (cardinality($5) = 0 or status = any ($5))
     order by id desc
     limit $3)
    union all
    (select
        id, tenant, action, defs, event, parent, lane, key, mode, null, queued_at, due, null,
        null, input, null, null, attempts
     from engine.later
     where tenant = $1 and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and ($4 is null or action = $4)
       and (cardinality($5) = 0 or (case when attempts = '[]' then 0 else 4 end) = any ($5))
       and (select true from engine.execution
            where execution.tenant = later.tenant and execution.id = later.id) is null
     order by id desc
     limit $3)
    union all
    (select
        work.id, work.tenant, work.action, work.defs, work.event, work.parent, work.lane,
        work.key, work.mode, null, work.queued_at, null, null, null, work.input, null, null, null
     from engine.lease
     join engine.work on work.part = lease.part and work.seq >= lease.low
     where (cardinality($5) = 0 or 0 = any ($5))
       and work.tenant = $1
       and work.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       and ($4 is null or work.action = $4)
       and (select true from engine.execution
            where execution.tenant = work.tenant and execution.id = work.id) is null
       and (select true from engine.later where later.id = work.id) is null
     order by work.id desc
     limit $3)
) as found
order by id desc
limit $3
