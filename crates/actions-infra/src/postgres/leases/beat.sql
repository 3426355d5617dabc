-- Shows that this node is alive. No row: somebody declared it dead.
update engine.node
set beats = beats + 1, seen_at = clock_timestamp()
where id = $1 and alive
returning beats
