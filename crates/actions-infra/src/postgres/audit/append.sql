-- Under the lock of the stream's head, which moves on with it.
with appended as (
    insert into engine.audit (
        tenant, seq, at, actor, actor_kind, actor_id, role, ingress, request_id, act, subject,
        before, after, reason, previous, hash
    ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
)
update engine.audit_head set seq = $2, hash = $16 where tenant = $1
