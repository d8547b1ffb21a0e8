-- ARGV: video, tombstone_ms
-- Works without the epoch key: a tombstone can only keep things out, and the rebuild sets it from the markers.
local video, tombstone_ms = ARGV[1], ARGV[2]

local v = video_load(video)
if v then
    job_remove(v)
    if call('ZREM', K .. 'videos', video) == 1 then
        publish('deleted', v.state, {v.job}, {v.attempts})
    end
    call('ZREM', K .. 'videos:' .. v.state, video)
end
upload_forget(video)
unreserve(video)
call('SET', K .. 'deleted:' .. video, 1, 'PX', tombstone_ms)
return {'OK'}
