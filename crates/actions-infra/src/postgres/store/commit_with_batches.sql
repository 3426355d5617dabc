-- A flush with executions that gather. As commit_with_terms.sql, with one step more: batches are
-- joined, begun and closed after the claims and before the leases are locked.
select
    admitted.stales, admitted.verdicts, admitted.subjects, admitted.discarded, enqueued.parts,
    enqueued.firsts, claimed.yielded, claimed.yielded_to, claimed.conflicts, claimed.superseded,
    claimed.superseded_by, gathered.joined, gathered.joined_to, gathered.closed
from engine.admit_v1(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25
) as admitted
cross join lateral engine.admit_claims_v1(
    admitted.discarded, admitted.verdicts, $3, $6, $7, $26, $28, $29, $31, $35, $38, $99,
    $101, $102, $103, $104, $105, $106, $107, $100
) as claimed
cross join lateral engine.admit_batches_v1(
    admitted.discarded, admitted.verdicts, $3, $6, $7, claimed.ingests, $27, $28, $29, $31, $35,
    $36, claimed.delays, $108, $109, $110, $111, $112, $113, $114, $115, $116
) as gathered
cross join lateral engine.drop_terms_v1(
    case when gathered.ingests is not null then admitted.discarded end, $100
) as dropped (after)
cross join lateral engine.settle_v1(
    dropped.after,
    $44, $45, $46, $47, $48, $49, $50, $51, $52, $53, $54, $55, $56, $57,
    $58, $59, $60, $61, $62, $63, $64, $65, $66, $67, $68, $69, $70, $71, $72, $73, $74, $75,
    $76, $77, $78, $79, $80, $81, $82, $83, $84, $85, $86, $87, $88, $89, $90
) as settled (count)
cross join lateral engine.report_v1(
    settled.count, $69, $91, $92, $93, $94, $95, $96, $97, $98
) as reported (count)
cross join lateral engine.enqueue_v1(
    reported.count, admitted.verdicts, gathered.ingests, $27, $28, $29, $30, $31, $32, $33, $34,
    $35, $36, $37, gathered.delays, $39, $40, $41, $42, $43
) as enqueued
cross join lateral engine.keep_terms_v1(
    enqueued.parts, admitted.verdicts, gathered.ingests, $28, $29, $99
) as kept (count)
