-- Days and segments as they were counted before, in a form that the planner can put in place of
-- the call: the epoch of an interval is immutable, that of a timestamptz is not. Without that, each
-- transaction parses and plans these functions again.

create or replace function engine.day_of(at timestamptz) returns int4
    language sql immutable parallel safe
    return floor(extract(epoch from at - timestamptz 'epoch') / 86400)::int4;

create or replace function engine.segment_of(at timestamptz) returns int4
    language sql immutable parallel safe
    return floor(extract(epoch from at - timestamptz 'epoch') / 21600)::int4;
