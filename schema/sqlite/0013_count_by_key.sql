-- What executions are counted by beside their tenant and their action. Few have anything: work and
-- later items stay as they are, and a row here goes with the end of its execution.
create table engine_terms (
    id blob primary key,
    tenant integer not null,
    body text not null
) strict, without rowid;
