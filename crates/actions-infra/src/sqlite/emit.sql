-- The event's external id is made here, because only a committed row needs one. It is put in
-- front of the text as it was sent: SQLite's JSON functions would write the data anew.
insert into engine_intake (tenant, body)
select id, '{"id":"' || lower(hex(randomblob(16))) || '",' || substr(?2, 2)
from engine_tenant
where slug = ?1
returning id
