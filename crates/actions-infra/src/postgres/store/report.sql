select attempt, told_at, progress, note, checkpoint from engine.report where id = $1
