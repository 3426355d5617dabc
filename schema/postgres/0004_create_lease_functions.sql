-- Membership and ownership. Locks, in this order: node rows, ascending → lease rows, ascending.

-- Registers one start of a process. An earlier start of the same name is dead from now on.
create function engine.join_v1(given_name text) returns int4
    language plpgsql
as $$
declare
    number int4;
begin
    -- Two starts of one name: the second one waits, and wins.
    perform pg_advisory_xact_lock(hashtext('engine.join'), hashtext(given_name));
    update engine.node set alive = false where name = given_name and alive;
    insert into engine.node (name) values (given_name) returning id into number;
    return number;
end
$$;

-- Declares nodes dead and takes up to `most` partitions that no living node owns. A flush of a
-- former owner that is under way holds the lease row: we wait for its end, and its next one
-- finds our epoch.
create function engine.claim_v1(claimer int4, dead int4[], most int4)
    returns table (part int2, epoch int8, clean bool)
    language plpgsql
as $$
#variable_conflict use_column
begin
    -- One claim at a time: a claim that waited for another one would judge its new owner by a
    -- snapshot from before that one joined.
    perform pg_advisory_xact_lock(hashtext('engine.claim'));
    perform from engine.node
    where id = claimer or id = any (dead)
    order by id
    for no key update;

    perform from engine.node where id = claimer and alive;
    if not found then
        raise exception 'this node was declared dead' using
            errcode = 'AX001',
            detail = coalesce(
                (select string_agg(lease.part::text, ',' order by lease.part)
                 from engine.lease where owner = claimer), '');
    end if;

    update engine.node set alive = false where id = any (dead) and id <> claimer and alive;

    return query
    with free as (
        select lease.part, lease.clean
        from engine.lease
        where not exists (select from engine.node where node.id = lease.owner and node.alive)
        order by lease.part
        limit most
        for no key update of lease
    )
    update engine.lease
    set owner = claimer, epoch = lease.epoch + 1, clean = false, taken_at = clock_timestamp()
    from free
    where lease.part = free.part
    returning lease.part, lease.epoch, free.clean;
end
$$;
