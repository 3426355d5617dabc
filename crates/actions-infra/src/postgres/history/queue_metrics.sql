select
    tenant, queue_name, sampled_at, pending, processing, completed, failed,
    avg_processing_time_ms, throughput_per_minute, error_rate_percentage, active_workers
from engine.queue_metric
where tenant = $1
order by sampled_at desc, id desc
limit $2
