insert into engine_queue_metrics (
    tenant, sampled_at, queue_name, pending, processing, completed, failed,
    avg_processing_time_ms, throughput_per_minute, error_rate_percentage, active_workers
)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
on conflict (tenant, sampled_at, queue_name) do update set
    pending = excluded.pending, processing = excluded.processing,
    completed = excluded.completed, failed = excluded.failed,
    avg_processing_time_ms = excluded.avg_processing_time_ms,
    throughput_per_minute = excluded.throughput_per_minute,
    error_rate_percentage = excluded.error_rate_percentage,
    active_workers = excluded.active_workers
