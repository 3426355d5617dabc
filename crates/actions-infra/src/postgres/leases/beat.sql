-- Shows that this node is alive, and how it is. No row: somebody declared it dead.
update engine.node
set beats = beats + 1, seen_at = clock_timestamp(),
    version = $2, role = $3, running = $4, waiting = $5, draining = $6
where id = $1 and alive
returning beats
