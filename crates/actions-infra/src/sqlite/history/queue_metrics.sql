select
    tenant, sampled_at, queue_name, pending, processing, completed, failed,
    avg_processing_time_ms, throughput_per_minute, error_rate_percentage, active_workers
from engine_queue_metrics
where tenant = ?1
order by sampled_at desc, queue_name
limit ?2
