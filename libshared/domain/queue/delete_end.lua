-- ARGV: video, tombstone_ms
local video, tombstone_ms = ARGV[1], ARGV[2]

local v = video_load(video)
if v then
    job_remove(v)
    for generation = math.max(1, v.generation - 99), v.generation do -- older ones expire by themselves
        call('DEL', K .. 'job:' .. video .. '.' .. generation)
    end
    call('ZREM', K .. 'videos', video)
    call('ZREM', K .. 'videos:' .. v.state, video)
end
call('DEL', K .. 'video:' .. video)
upload_forget(video)
unreserve(video)
call('SET', K .. 'deleted:' .. video, 1, 'PX', tombstone_ms)
return {'OK'}
