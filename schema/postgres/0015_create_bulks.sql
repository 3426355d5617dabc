-- Operations on many executions or dead letters: who asked for what, how far it is, and what became
-- of each item. The owner of the first partition writes the outcomes, a piece at a time.
create table engine.bulk (
    ended_at timestamptz,
    tenant int4 not null,
    id uuid not null,
    record text not null,
    primary key (tenant, id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index bulk_open on engine.bulk (tenant, id) where ended_at is null;

create table engine.bulk_item (
    handled_at timestamptz,
    number int4 not null,
    bulk uuid not null,
    target uuid not null,
    -- The new execution of what was done, or why nothing was.
    execution uuid,
    refusal text,
    primary key (bulk, number)
) with (fillfactor = 70);

-- Forgets a part of what ended before `oldest`, of one tenant or of all, items first, and answers
-- how many rows that were.
create function engine.drop_old_bulks_v1(oldest timestamptz, given_tenant int4) returns int8
    language plpgsql
as $$
declare
    gone int8;
begin
    delete from engine.bulk_item
    where ctid = any (array(
        select item.ctid
        from engine.bulk
        join engine.bulk_item as item on item.bulk = bulk.id
        where bulk.ended_at < oldest and (given_tenant is null or bulk.tenant = given_tenant)
        limit 5000));
    get diagnostics gone = row_count;
    if gone = 0 then
        delete from engine.bulk
        where ended_at < oldest and (given_tenant is null or tenant = given_tenant);
    end if;
    return gone;
end
$$;
