-- Draws starts from buckets, as `Rate::draw` decides and `engine.draw_v1` does.
-- KEYS: the buckets. ARGV, seven for each: want, then cost, burst and block of the minute and of
-- the hour; a cost of 0 is a window without a limit. Answers two numbers for each: the count, and
-- when there is more, in microseconds. The server's own clock decides.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local names = { 'minute', 'hour' }
local answers = {}

for number, key in ipairs(KEYS) do
    local asked = {}
    for index = 1, 7 do
        asked[index] = tonumber(ARGV[(number - 1) * 7 + index])
    end
    local known = redis.call('HMGET', key, 'minute', 'hour')
    local want, owed = asked[1], {}
    local count = want
    for index = 1, 2 do
        local cost, burst = asked[index * 3 - 1], asked[index * 3]
        if cost > 0 then
            -- A debt from a slower rate is no larger than one of this.
            owed[index] = math.min(
                math.max(tonumber(known[index] or now) - now, 0), cost * burst)
            local stock = math.floor(math.max(cost * burst - owed[index], 0) / cost)
            count = math.min(count, stock)
        end
    end

    local again, last = 0, 0
    for index = 1, 2 do
        local cost, burst, block = asked[index * 3 - 1], asked[index * 3], asked[index * 3 + 1]
        if cost > 0 then
            local paid = owed[index] + cost * count
            -- Written out in full: as a float it would lose its last digits.
            redis.call('HSET', key, names[index], string.format('%.0f', now + paid))
            last = math.max(last, paid)
            if count < want then
                again = math.max(again, paid + cost * (block - burst))
            end
        else
            -- What was drawn by a window that is not asked for now is still owed there.
            last = math.max(last, tonumber(known[index] or now) - now)
        end
    end
    -- A bucket that is paid for is like one that never was.
    redis.call('PEXPIRE', key, math.ceil(last / 1000) + 1)
    answers[#answers + 1] = count
    answers[#answers + 1] = again
end
return answers
