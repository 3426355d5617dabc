select secret.*, version.number, version.key_id, version.created_at as put_at,
    version.created_by as put_by, version.ends_at, x'' as wrapped, x'' as text
from engine_secret as secret
join engine_secret_version as version on version.secret = secret.id
where secret.tenant = ?
order by secret.name, version.number desc
