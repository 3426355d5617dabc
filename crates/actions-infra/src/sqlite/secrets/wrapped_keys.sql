select secret.tenant, secret.id, secret.name, version.number, version.key_id, version.wrapped
from engine_secret_version as version
join engine_secret as secret on secret.id = version.secret
where version.key_id in (select value from json_each(?1))
  and (version.secret, version.number) > (?2, ?3)
order by version.secret, version.number
limit ?4
