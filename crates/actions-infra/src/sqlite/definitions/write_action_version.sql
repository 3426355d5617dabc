insert into engine_action_version (action, spec, health, version, updated_at, deleted)
values (?1, ?2, ?3, ?4, ?5, ?6)
