select engine.join_v1($1)
