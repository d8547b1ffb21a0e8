-- ARGV: video, nonce, lease_ms, "leave" or ""
local video, nonce, lease, leave = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == 'leave'

local refused = refusal(video)
if refused then
    return refused
end
local writer = writer_load(video, lease)
local mine = writer and writer.nonce == nonce
if mine or not writer or not writer.live then -- else the reservation is the other's
    call('ZREM', K .. 'admitted', video)
end
if mine and leave then
    call('DEL', K .. 'writer:' .. video)
end
return {'OK'}
