-- Makes the rows of the partitions, once: how many there are is fixed from then on.
with numbers as (
    select number::int2 as part
    from generate_series(0, $1 - 1) as number
    where not exists (select from engine.lease)
), leases as (
    insert into engine.lease (part) select part from numbers on conflict do nothing
)
insert into engine.tail (part) select part from numbers on conflict do nothing
