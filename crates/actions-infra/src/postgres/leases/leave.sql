update engine.node set alive = false where id = $1 and alive
