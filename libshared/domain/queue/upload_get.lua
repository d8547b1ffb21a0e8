-- ARGV: video, lease_ms
local video, lease = ARGV[1], ARGV[2]

local known = call('MGET', K .. 'deleted:' .. video, K .. 'epoch')
if known[1] then
    return {'GONE'}
elseif not known[2] then
    return {'BUSY'}
end
local writer = writer_load(video, lease)
return {'OK', known[2], upload_cached(video, known[2]) or '', writer and writer.live and writer.process or ''}
