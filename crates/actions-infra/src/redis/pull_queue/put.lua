-- Puts a task in, unless this or a later attempt has one. KEYS: the task, its queue. ARGV: the
-- execution, the attempt, the tenant, the queue, the body, for how many milliseconds it stays, and
-- after how many microseconds no attempt can want a task any more.
local known = tonumber(redis.call('HGET', KEYS[1], 'attempt') or -1)
if known >= tonumber(ARGV[2]) then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local put_at = string.format('%.0f', now)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'attempt', ARGV[2], 'tenant', ARGV[3], 'queue', ARGV[4],
    'body', ARGV[5], 'words', 0, 'put_at', put_at)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
-- By the time from which a worker may have it.
redis.call('ZADD', KEYS[2], put_at, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[7]))
redis.call('EXPIRE', KEYS[2], 86400)
return 1
