-- What running attempts told of themselves: that they live, how far they are, and where the next
-- attempt may go on. Written every ten seconds at most, and removed with the end of the execution.
create table engine_report (
    id blob primary key,
    part integer not null,
    attempt integer not null,
    told_at integer not null,
    progress real,
    note text,
    checkpoint text
) strict, without rowid;
