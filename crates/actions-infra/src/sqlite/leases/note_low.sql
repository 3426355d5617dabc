-- Moves the hint forward, never back and never beyond the log's end.
update engine_lease
set low = max(low, min(?2, (select next from engine_tail where part = ?1)))
where part = ?1
