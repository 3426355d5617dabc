-- Puts a task in, and forgets some that no attempt wants any more, the oldest first.
with forgotten as (
    delete from engine.pull
    where execution in (
        select execution from engine.pull
        where wanted_until < clock_timestamp() and execution <> $1
        order by put_at
        limit 20
        for update skip locked)
)
insert into engine.pull (execution, attempt, tenant, queue, body, wanted_until)
values ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 microsecond')
-- The task of an attempt before this one is over, and so is one that nobody wanted any more. One
-- of this attempt is left as it is, with whoever works on it.
on conflict (execution) do update
set attempt = excluded.attempt, tenant = excluded.tenant, queue = excluded.queue,
    body = excluded.body, wanted_until = excluded.wanted_until, put_at = excluded.put_at,
    claim = null, claimed_until = null, lease = null, progress = null, words = 0, worker = null,
    note = null, checkpoint = null, answer = null
where pull.attempt < excluded.attempt
    or (pull.attempt = excluded.attempt and pull.wanted_until <= clock_timestamp())
