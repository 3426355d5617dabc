select kind, id, amount, cap from engine.exchange_v1($1, $2, $3, $4, $5, $6, $7)
