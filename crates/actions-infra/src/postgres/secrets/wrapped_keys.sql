-- A few thousand rows at most are sorted, once for each batch of a job that runs after a change of
-- master keys.
select secret.tenant, secret.id, secret.name, version.number, version.key_id, version.wrapped
from engine.secret_version as version
join engine.secret as secret on secret.id = version.secret
where version.key_id = any($1) and (version.secret, version.number) > ($2, $3)
order by version.secret, version.number
limit $4
