-- Takes free tasks, oldest first over all of the queues. KEYS: the queues. ARGV: what stands before
-- the name of a task, the nonce, the worker, its lease in microseconds, how many, and then the
-- queues' names. Answers four texts for each: the execution, the queue, the body and the checkpoint.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due_until, most = string.format('%.0f', now), tonumber(ARGV[5])
-- Nobody else is served while this runs: the next claim goes on with what is to be removed.
local removals = 1000
local found, is_known = {}, {}
for number, queue in ipairs(KEYS) do
    -- What stays in the queue stands before what is still to be looked at.
    local kept, page = 0, most
    while kept < most and removals > 0 do
        local due = redis.call('ZRANGEBYSCORE', queue, '-inf', due_until, 'LIMIT', kept, page)
        for _, execution in ipairs(due) do
            local task = redis.call('HMGET', ARGV[1] .. execution, 'queue', 'answer', 'put_at')
            if task[1] ~= ARGV[5 + number] or task[2] then
                -- It is over, or waits elsewhere.
                redis.call('ZREM', queue, execution)
                removals = removals - 1
            else
                kept = kept + 1
                -- A queue may have been named twice.
                if not is_known[execution] then
                    is_known[execution] = true
                    found[#found + 1] = { execution, queue, tonumber(task[3]) }
                end
            end
        end
        if #due < page then
            break
        end
        page = 100
    end
end
table.sort(found, function(one, other)
    if one[3] ~= other[3] then
        return one[3] < other[3]
    end
    return one[1] < other[1]
end)
local taken = {}
for place = 1, math.min(most, #found) do
    local execution, queue = found[place][1], found[place][2]
    local task = ARGV[1] .. execution
    redis.call('HSET', task, 'claim', ARGV[2], 'worker', ARGV[3], 'lease', ARGV[4])
    redis.call('HINCRBY', task, 'words', 1)
    redis.call('ZADD', queue, string.format('%.0f', now + ARGV[4]), execution)
    local told = redis.call('HMGET', task, 'queue', 'body', 'checkpoint')
    taken[#taken + 1] = execution
    taken[#taken + 1] = told[1]
    taken[#taken + 1] = told[2]
    taken[#taken + 1] = told[3] or ''
end
return taken
