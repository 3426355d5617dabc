select part, epoch, clean from engine.claim_v1($1, $2, $3)
