update engine.pull
set wanted_until = clock_timestamp() + $3 * interval '1 microsecond'
where execution = $1 and attempt = $2 and wanted_until > clock_timestamp()
returning words, worker, progress, note, checkpoint, answer
