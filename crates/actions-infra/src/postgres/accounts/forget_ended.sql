delete from engine.session
where tenant = $1 and least(ended_at, expires_at) <= $2
