-- Whoever puts a version at the same moment deletes the row or leaves it: nothing is lost.
update engine.secret_version
set key_id = $4, wrapped = $5
where secret = $1 and number = $2 and wrapped = $3
