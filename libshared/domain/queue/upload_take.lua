-- ARGV: video, process, nonce, bound, lease_ms
local video, process, nonce, bound, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local known = call('MGET', K .. 'deleted:' .. video, K .. 'epoch', K .. 'fence')
if known[1] then
    return {'GONE'}
elseif not known[2] then
    return {'BUSY'}
end
local writer = writer_load(video, lease)
if writer and writer.live and writer.nonce ~= nonce then
    return {'OK', 'HELD', writer.process}
end
local expiry = tonumber(call('ZSCORE', K .. 'admitted', video) or 0)
local taken = call('ZCARD', K .. 'open') + call('ZCOUNT', K .. 'admitted', '(' .. now, '+inf')
if expiry <= now_ms and taken >= bound then
    return {'OK', 'FULL'}
end
local fence = math.max((tonumber(known[3]) or 0) + 1, now_us)
if fence >= MAX_FENCE then
    return redis.error_reply('ERR the fence has reached 2^53: {weir}:fence was tampered with')
end

fence = string.format('%d', fence)
if writer and writer.nonce == nonce then -- the reply was lost, or it goes on
    fence = writer.fence
else
    call('SET', K .. 'fence', fence)
end
call('HSET', K .. 'writer:' .. video, 'nonce', nonce, 'fence', fence, 'process', process)
writer_extend(video, lease)
call('ZADD', K .. 'admitted', from_now(lease), video)
call('ZREMRANGEBYSCORE', K .. 'admitted', '-inf', now)
return {'OK', 'TAKEN', fence, known[2], (upload_cached(video, known[2]))}
