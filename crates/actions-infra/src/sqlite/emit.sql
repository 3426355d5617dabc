-- Mints the event's id, a UUIDv7, and puts it in front of the text as it was sent: SQLite's
-- JSON functions would write the data anew. Answers the id, or no row without the tenant.
with dice as materialized (
    select
        printf('%012x', cast(unixepoch('subsec') * 1000 as integer)) as at,
        lower(hex(randomblob(9))) as random,
        substr('89ab', 1 + (random() & 3), 1) as variant
), minted as materialized (
    select
        substr(at, 1, 8) || '-' || substr(at, 9, 4)
        || '-7' || substr(random, 1, 3)
        || '-' || variant || substr(random, 4, 3)
        || '-' || substr(random, 7, 12) as id
    from dice
)
insert into engine_intake (tenant, body)
select tenant.id, '{"id":"' || minted.id || '",' || substr(?2, 2)
from engine_tenant as tenant, minted
where tenant.slug = ?1
-- The id is what stands after {"id":"
returning substr(body, 8, 36)
