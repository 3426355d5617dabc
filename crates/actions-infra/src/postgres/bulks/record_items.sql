-- Outcomes are recorded once, whoever comes second.
with recorded as (
    update engine.bulk_item as item
    set handled_at = $2, execution = given.execution, refusal = given.refusal
    from unnest($3::int4[], $4::uuid[], $5::text[]) as given (number, execution, refusal)
    where item.bulk = $1 and item.number = given.number and item.handled_at is null
    returning item.refusal
)
select
    count(*) filter (where refusal is null) as done,
    count(*) filter (where refusal is not null) as refused
from recorded
