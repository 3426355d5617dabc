insert into engine_audit (
    tenant, seq, at, actor, actor_kind, actor_id, role, ingress, request_id, act, subject, before,
    after, reason, previous, hash
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
