insert into engine.queue_metric (
    tenant, queue_name, sampled_at, pending, processing, completed, failed,
    avg_processing_time_ms, throughput_per_minute, error_rate_percentage, active_workers)
select *
from unnest(
    $1::int4[], $2::text[], $3::timestamptz[], $4::int8[], $5::int8[], $6::int8[], $7::int8[],
    $8::float8[], $9::float8[], $10::float8[], $11::int8[])
