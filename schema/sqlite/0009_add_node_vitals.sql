-- What a node says of itself with each beat, for the list of nodes.
alter table engine_node add column version text not null default '';
alter table engine_node add column role text not null default '';
alter table engine_node add column running integer not null default 0;
alter table engine_node add column waiting integer not null default 0;
alter table engine_node add column draining integer not null default 0;
alter table engine_node add column seen_at integer not null default 0;
