-- Keeps an attempt's task, and answers what was said of it. KEYS: the task. ARGV: the attempt, and
-- for how many milliseconds it stays.
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then
    return {}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HMGET', KEYS[1], 'words', 'worker', 'progress', 'note', 'checkpoint', 'answer')
