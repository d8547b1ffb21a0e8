-- ARGV: video, epoch, seq, state, expires_ms (0: never), client, "open" or ""
local video, epoch, seq, state, expires, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local refused = refusal(video)
if refused then
    return refused
end
if call('GET', K .. 'epoch') ~= epoch then -- what was read may be from before Redis lost something
    call('HDEL', K .. 'upload:' .. video, 'state', 'seq', 'epoch')
    return {'OK'}
end
local _, known = upload_cached(video, epoch)
if known and tonumber(known) >= tonumber(seq) then
    return {'OK'}
end

call('HSET', K .. 'upload:' .. video, 'epoch', epoch, 'seq', seq, 'state', state)
upload_keep(video, expires)
if ARGV[7] == 'open' then
    upload_count(video, client, expires)
end
return {'OK'}
