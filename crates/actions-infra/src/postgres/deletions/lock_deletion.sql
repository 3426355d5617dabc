-- Two nodes that are at it take turns.
select record, settled_at is not null as is_settled, waits_for is not null as has_noted_writers
from engine.tenant_deletion
where id = $1
for no key update
