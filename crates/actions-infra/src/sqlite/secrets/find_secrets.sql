select secret.*, version.number, version.key_id, version.created_at as put_at,
    version.created_by as put_by, version.ends_at, version.wrapped, version.text
from engine_secret as secret
join engine_secret_version as version on version.secret = secret.id
where secret.tenant = ?1 and secret.name in (select value from json_each(?2))
order by secret.name, version.number desc
