-- Takes a worker's word. KEYS: the task. ARGV: the nonce, the tenant, what stands before the name
-- of a queue, the execution, then the lease, whether there is progress, how much, the note, the
-- checkpoint and the answer, each empty when it is not told. Answers the lease in microseconds, or
-- nothing when the claim is over.
local known = redis.call('HMGET', KEYS[1], 'claim', 'tenant', 'queue', 'lease')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then
    return false
end
local lease = known[4]
if ARGV[5] ~= '' then
    lease = ARGV[5]
    redis.call('HSET', KEYS[1], 'lease', lease)
end
if ARGV[6] == '1' then
    redis.call('HSET', KEYS[1], 'progress', ARGV[7], 'note', ARGV[8])
end
if ARGV[9] ~= '' then
    redis.call('HSET', KEYS[1], 'checkpoint', ARGV[9])
end
if ARGV[10] ~= '' then
    redis.call('HSETNX', KEYS[1], 'answer', ARGV[10])
end
redis.call('HINCRBY', KEYS[1], 'words', 1)
local time = redis.call('TIME')
redis.call('ZADD', ARGV[3] .. known[3], 'XX',
    string.format('%.0f', time[1] * 1000000 + time[2] + lease), ARGV[4])
return lease
