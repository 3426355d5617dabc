-- What a node says of itself with each beat, for the list of nodes and for those that share its
-- partitions. A node of the version before says nothing, and takes part as ever.
alter table engine.node
    add column version text not null default '',
    add column role text not null default '',
    add column running int4 not null default 0,
    add column waiting int4 not null default 0,
    add column draining bool not null default false;
