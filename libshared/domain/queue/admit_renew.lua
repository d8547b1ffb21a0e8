-- ARGV: video, ttl_ms
-- What was admitted stays so, even when its reservation ran out while Redis or the writer was away; but one that became
-- a job has none any more.
local video, ttl = ARGV[1], tonumber(ARGV[2])

local refused = refusal(video)
if refused then
    return refused
end
local v = video_load(video)
if not v or v.state == 'uploading' then
    call('ZADD', K .. 'admitted', from_now(ttl), video)
end
return {'OK'}
