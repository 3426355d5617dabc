delete from engine_secret_version where (secret, number) in (
    select version.secret, version.number
    from engine_secret as secret
    join engine_secret_version as version on version.secret = secret.id
    where secret.tenant = ?1
    limit ?2)
