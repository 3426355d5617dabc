-- Keeps an attempt's task, and answers what was said of it. KEYS: the task. ARGV: the execution,
-- the attempt, for how many milliseconds it stays, and what stands before the name of a tenant's
-- queues.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'tenant', 'queue', 'put_at', 'lease', 'answer')
if known[1] ~= ARGV[2] then
    return {}
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not known[6] then
    -- A queue may be gone without its tasks: a server short of memory drops whole keys.
    local queue = ARGV[4] .. known[2] .. ':' .. known[3]
    local free_at = known[4]
    if known[5] then
        local time = redis.call('TIME')
        free_at = string.format('%.0f', time[1] * 1000000 + time[2] + known[5])
    end
    if redis.call('ZADD', queue, 'NX', free_at, ARGV[1]) == 1 then
        redis.call('EXPIRE', queue, 86400)
    end
end
return redis.call('HMGET', KEYS[1], 'words', 'worker', 'progress', 'note', 'checkpoint', 'answer')
