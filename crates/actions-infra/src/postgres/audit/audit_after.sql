select
    seq, at, tenant, actor, actor_kind, actor_id, role, ingress, request_id, act, subject, before,
    after, reason, previous, hash
from engine.audit
where tenant = $1 and seq > $2
order by seq
limit $3
