update engine_secret_version
set key_id = ?4, wrapped = ?5
where secret = ?1 and number = ?2 and wrapped = ?3
