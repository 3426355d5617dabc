insert into engine_secret_version
    (secret, number, created_at, created_by, key_id, wrapped, text)
values (?, ?, ?, ?, ?, ?, ?)
