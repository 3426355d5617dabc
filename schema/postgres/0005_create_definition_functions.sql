-- Changes of definitions. Each takes the next number of the tenant's `defs_version`, whose row is
-- the lock: changes of one tenant follow one another. What a caller expects to find is compared
-- before, under the same lock.

-- Takes the next version, and the lock.
create function engine.next_defs_version_v1(tenant_id int4) returns int8
    language plpgsql
as $$
declare
    version int8;
begin
    update engine.tenant set defs_version = defs_version + 1
    where id = tenant_id
    returning defs_version into version;
    if version is null then
        raise exception 'there is no tenant %', tenant_id using errcode = 'AX002';
    end if;
    return version;
end
$$;

-- Writes the next state of an action, a new one when `action_id` is null. A deleted action takes
-- its subscriptions with it.
create function engine.write_action_v1(
    tenant_id int4, action_id int4, new_uuid uuid, new_name text, new_spec json, new_health json,
    is_deleted bool
) returns engine.action
    language plpgsql
as $$
declare
    next_version int8 := engine.next_defs_version_v1(tenant_id);
    at timestamptz := clock_timestamp();
    state engine.action;
begin
    if action_id is null then
        insert into engine.action (
            tenant, uuid, name, spec, health, version, created_at, updated_at)
        values (tenant_id, new_uuid, new_name, new_spec, new_health, next_version, at, at)
        returning * into state;
    else
        update engine.action
        set name = new_name, spec = new_spec, health = new_health, version = next_version,
            updated_at = at, deleted = is_deleted
        where id = action_id and tenant = tenant_id and not deleted
        returning * into state;
        if not found then
            raise exception 'there is no action %', action_id using errcode = 'AX002';
        end if;
    end if;

    insert into engine.action_version (
        action, version, tenant, name, spec, health, updated_at, deleted)
    values (
        state.id, next_version, tenant_id, state.name, state.spec, state.health, at, state.deleted);

    if is_deleted then
        update engine.subscription
        set deleted = true, version = next_version, updated_at = at
        where action = state.id and not deleted;
    end if;
    return state;
end
$$;

-- Writes the next state of a subscription. One that was deleted starts anew.
create function engine.write_subscription_v1(
    tenant_id int4, subscription_id uuid, action_id int4, new_spec json, is_deleted bool
) returns engine.subscription
    language plpgsql
as $$
declare
    next_version int8 := engine.next_defs_version_v1(tenant_id);
    at timestamptz := clock_timestamp();
    state engine.subscription;
begin
    insert into engine.subscription as known (
        id, tenant, action, spec, version, created_at, updated_at, deleted)
    values (subscription_id, tenant_id, action_id, new_spec, next_version, at, at, is_deleted)
    on conflict (tenant, id) do update
    set action = excluded.action, spec = excluded.spec, version = excluded.version,
        created_at = case when known.deleted then excluded.created_at else known.created_at end,
        updated_at = excluded.updated_at, deleted = excluded.deleted
    returning * into state;
    return state;
end
$$;
