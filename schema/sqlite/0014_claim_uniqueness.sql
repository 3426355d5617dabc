-- Executions that are the only ones for something: until they have ended, for a time, or until a
-- newer one takes their place.

-- Who holds a claim. That its holder has ended is asked of the history, so an end writes nothing
-- here.
create table engine_claim (
    tenant integer not null,
    k blob not null,
    execution blob not null,
    -- When the first one of a burst was accepted.
    first_at integer not null,
    -- It stands until then, whether or not its holder has ended.
    until integer,
    -- It stands as long as its holder has not ended.
    until_finished integer not null,
    -- When its holder may start. Before that, it certainly has not.
    due integer,
    primary key (tenant, k)
) strict, without rowid;

-- Which execution takes the place of this one, if it has not started. As text, because it is read
-- as a part of the terms.
alter table engine_terms add column superseded_by text;
create index engine_terms_superseded on engine_terms (id) where superseded_by is not null;

-- Executions that there are none of, because others hold their claims.
alter table engine_event add column yielded text;
