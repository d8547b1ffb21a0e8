-- ARGV: video, bound, ttl_ms
local video, bound, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local refused = refusal(video)
if refused then
    return refused
end
local expiry = tonumber(call('ZSCORE', key('admitted'), video) or 0)
local taken = call('ZCARD', key('open')) + call('ZCOUNT', key('admitted'), '(' .. now, '+inf')
if expiry <= now_ms and taken >= bound then
    return {'FULL'}
end

call('ZADD', key('admitted'), now_ms + ttl, video)
call('ZREMRANGEBYSCORE', key('admitted'), '-inf', now)
return {'OK'}
