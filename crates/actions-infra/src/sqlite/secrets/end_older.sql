-- Of the older ones only the one before the new one is of use.
delete from engine_secret_version
where secret in (select id from engine_secret where tenant = ?1)
  and (ends_at <= ?2 or secret = ?3 and number < ?4 - 1)
