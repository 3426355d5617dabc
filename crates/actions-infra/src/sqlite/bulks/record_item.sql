-- Outcomes are recorded once, whoever comes second.
update engine_bulk_item
set handled_at = ?3, execution = ?4, refusal = ?5
where bulk = ?1 and number = ?2 and handled_at is null
