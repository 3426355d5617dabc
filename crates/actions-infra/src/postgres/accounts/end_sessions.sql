update engine.session
set ended_at = $2, version = $3
where id = any($1) and ended_at is null
