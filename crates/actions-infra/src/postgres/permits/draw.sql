select kind, id, count, again_us from engine.draw_v2($1, $2, $3, $4, $5, $6, $7, $8, $9)
