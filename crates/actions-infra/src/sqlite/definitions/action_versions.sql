-- Everything that ever bore this name: a deleted name can be used again.
select
    version.action as id, action.tenant, action.uuid, version.spec, version.health,
    version.version, action.created_at, version.updated_at, version.deleted
from engine_action as action
join engine_action_version as version on version.action = action.id
where action.tenant = ?1 and action.name = ?2
    and (?3 is null or version.version < ?3)
order by version.version desc
limit ?4
