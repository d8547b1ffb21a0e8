-- ARGV: video, bound, ttl_ms
local video, bound, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local refused = refusal(video)
if refused then
    return refused
end
local expiry = tonumber(call('ZSCORE', K .. 'admitted', video) or 0)
local taken = call('ZCARD', K .. 'open') + call('ZCOUNT', K .. 'admitted', '(' .. now, '+inf')
if expiry <= now_ms and taken >= bound then
    return {'FULL'}
end

call('ZADD', K .. 'admitted', from_now(ttl), video)
call('ZREMRANGEBYSCORE', K .. 'admitted', '-inf', now)
return {'OK'}
