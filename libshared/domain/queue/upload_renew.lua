-- ARGV: video, nonce, lease_ms, "receiving" or ""
-- A lease that ran out, while Redis or the writer was away, is still his if nobody else came.
local video, nonce, lease, receiving = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == 'receiving'

local refused = refusal(video)
if refused then
    return refused
end
local writer = writer_load(video, lease)
if not writer or writer.nonce ~= nonce then
    return {'STALE'}
end

writer_extend(video, lease)
local v = video_load(video)
if receiving and (not v or v.state == 'uploading') then -- a job has no reservation any more
    call('ZADD', K .. 'admitted', from_now(lease), video)
end
return {'OK'}
