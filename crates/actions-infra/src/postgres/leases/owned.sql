select part from engine.lease where owner = $1 order by part
