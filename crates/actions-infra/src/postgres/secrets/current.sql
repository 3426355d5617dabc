-- Under the lock of the tenant's row, so nobody puts another version meanwhile.
select secret.id, max(version.number) as number
from engine.secret as secret
join engine.secret_version as version on version.secret = secret.id
where secret.tenant = $1 and secret.name = $2
group by secret.id
