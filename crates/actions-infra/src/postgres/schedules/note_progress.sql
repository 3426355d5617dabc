-- A node that was slow neither undoes what another one has written nor an edit.
update engine.schedule
set handled_until = $4, last_at = $5, last_execution = $6, last_error = $7
where tenant = $1 and name = $2 and version = $3 and handled_until <= $4
