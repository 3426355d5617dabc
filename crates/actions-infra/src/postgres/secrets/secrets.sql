select secret.tenant, secret.id, secret.name, secret.created_at, secret.created_by,
    version.number, version.key_id, version.created_at as put_at, version.created_by as put_by,
    version.ends_at, ''::bytea as wrapped, ''::bytea as text
from engine.secret as secret
join engine.secret_version as version on version.secret = secret.id
where secret.tenant = $1
order by secret.name, version.number desc
