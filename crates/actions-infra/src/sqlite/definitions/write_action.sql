update engine_action
set spec = ?2, health = ?3, version = ?4, updated_at = ?5, deleted = ?6
where id = ?1
