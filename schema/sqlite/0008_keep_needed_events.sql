-- Work that repeats a dead execution may be about an event of long ago. There is little of it.
create index engine_work_requeued on engine_work (event) where parent is not null;
create index engine_later_requeued on engine_later (event) where parent is not null;
