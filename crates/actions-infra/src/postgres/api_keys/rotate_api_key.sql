update engine.api_key
set lookup = $2, others_end_at = $3, version = $4
where id = $1
