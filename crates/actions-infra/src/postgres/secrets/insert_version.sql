insert into engine.secret_version
    (secret, number, created_at, created_by, key_id, wrapped, text)
values ($1, $2, $3, $4, $5, $6, $7)
