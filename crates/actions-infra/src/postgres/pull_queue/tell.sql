update engine.pull
set words = words + 1,
    lease = coalesce($4, lease),
    claimed_until = clock_timestamp() + coalesce($4, lease) * interval '1 microsecond',
    progress = case when $5 then $6 else progress end,
    note = case when $5 then $7 else note end,
    checkpoint = coalesce($8, checkpoint),
    answer = coalesce(answer, $9)
where execution = $1 and tenant = $2 and claim = $3 and wanted_until > clock_timestamp()
returning lease
