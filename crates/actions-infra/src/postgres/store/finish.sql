-- A flush of a partition's owner alone: marks, reports, retries, ends. One statement in autocommit.
-- The reports come after the leases are proven and the ends written.
select reported.count
from engine.settle_v1(
    0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39,
    $40, $41, $42, $43, $44, $45, $46, $47
) as settled (count)
cross join lateral engine.report_v1(
    settled.count, $26, $48, $49, $50, $51, $52, $53, $54, $55
) as reported (count)
