select controls::text from engine.tenant where id = $1
