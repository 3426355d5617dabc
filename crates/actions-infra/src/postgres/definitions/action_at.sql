select
    action.id, action.tenant, action.uuid, state.spec::text, state.health::text, state.version,
    action.created_at, state.updated_at, state.deleted
from engine.action_version as state
join engine.action on action.id = state.action
where state.action = $1 and state.version <= $2
order by state.version desc
limit 1
