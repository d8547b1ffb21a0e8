-- ARGV: the states of a video, in the order of enum video_state
local active, delayed, open = call('LLEN', K .. 'active'), call('ZCARD', K .. 'delayed'), call('ZCARD', K .. 'open')

-- By the time of enqueueing; what is active or delayed stands in between.
local function oldest_waiting()
    for offset = 0, open - 1, 100 do
        local found = call('ZRANGE', K .. 'open', offset, offset + 99, 'WITHSCORES')
        for i = 1, #found, 2 do
            if job_find(found[i], 'waiting') then
                return math.max(now_ms - tonumber(found[i + 1]), 0)
            end
        end
    end
    return 0
end

local by_state = {}
for i, state in ipairs(ARGV) do
    by_state[i] = call('ZCARD', K .. 'videos:' .. state)
end
return {'OK', open - active - delayed, active, delayed, open, call('ZCOUNT', K .. 'admitted', '(' .. now, '+inf'),
    oldest_waiting(), by_state}
