delete from engine_action_version where (action, version) in (
    select version.action, version.version
    from engine_action as action
    join engine_action_version as version on version.action = action.id
    where action.tenant = ?1
    limit ?2)
