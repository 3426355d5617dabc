-- The newest state that is not newer than the asked version.
select
    version.action as id, action.tenant, action.uuid, version.spec, version.health,
    version.version, action.created_at, version.updated_at, version.deleted
from engine_action_version as version
join engine_action as action on action.id = version.action
where version.action = ?1 and version.version <= ?2
order by version.version desc
limit 1
