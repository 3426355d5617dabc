-- A flush without a lease: new events with their work, cancels, discards. One statement in
-- autocommit. The functions are evaluated in this order, because each takes what the one before
-- answers.
select
    admitted.stales, admitted.verdicts, admitted.subjects, admitted.discarded, enqueued.parts,
    enqueued.firsts
from engine.admit_v1(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25
) as admitted
cross join lateral engine.enqueue_v1(
    0, admitted.verdicts, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39,
    $40, $41, $42, $43
) as enqueued
