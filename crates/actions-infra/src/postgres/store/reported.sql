-- Unfinished items whose attempts have told something: a handful of small rows.
select id from engine.report where part = $1
