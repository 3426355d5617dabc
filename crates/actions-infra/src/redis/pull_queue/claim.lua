-- Takes free tasks. KEYS: the queues. ARGV: what stands before the name of a task, the nonce, the
-- worker, its lease in microseconds, how many, and then the queues' names. Answers four texts for
-- each: the execution, the queue, the body and the checkpoint.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, taken = tonumber(ARGV[5]), {}
for number, queue in ipairs(KEYS) do
    while #taken < most * 4 do
        local due = redis.call('ZRANGEBYSCORE', queue, '-inf', string.format('%.0f', now),
            'LIMIT', 0, most - #taken / 4)
        if #due == 0 then
            break
        end
        for _, execution in ipairs(due) do
            local task = ARGV[1] .. execution
            local known = redis.call('HMGET', task, 'queue', 'answer', 'body', 'checkpoint')
            if known[1] ~= ARGV[5 + number] or known[2] then
                -- It is over, or waits elsewhere.
                redis.call('ZREM', queue, execution)
            else
                redis.call('HSET', task, 'claim', ARGV[2], 'worker', ARGV[3], 'lease', ARGV[4])
                redis.call('HINCRBY', task, 'words', 1)
                redis.call('ZADD', queue, string.format('%.0f', now + ARGV[4]), execution)
                taken[#taken + 1] = execution
                taken[#taken + 1] = known[1]
                taken[#taken + 1] = known[3]
                taken[#taken + 1] = known[4] or ''
            end
        end
    end
end
return taken
