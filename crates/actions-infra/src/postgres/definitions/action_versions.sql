select
    action.id, action.tenant, action.uuid, state.spec::text, state.health::text, state.version,
    action.created_at, state.updated_at, state.deleted
from engine.action_version as state
join engine.action on action.id = state.action
where state.tenant = $1 and state.name = $2
  and ($3::int8 is null or state.version < $3)
order by state.version desc
limit $4
