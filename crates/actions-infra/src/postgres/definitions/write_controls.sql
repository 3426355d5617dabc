-- A change of controls is a change of definitions: nodes notice it by the version.
update engine.tenant set controls = $2::json, defs_version = defs_version + 1 where id = $1
