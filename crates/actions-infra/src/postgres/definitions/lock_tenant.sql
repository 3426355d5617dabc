-- Changes of one tenant's definitions follow one another.
select id from engine.tenant where id = $1 for no key update
