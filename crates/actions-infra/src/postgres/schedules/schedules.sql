select tenant, name, spec::text, version, created_at, updated_at,
    handled_until, last_at, last_execution, last_error
from engine.schedule
where ($1::int4 is null or tenant = $1) and ($2::text is null or name = $2)
-- As the other stores sort them, whatever the database's language is.
order by tenant, name collate "C"
