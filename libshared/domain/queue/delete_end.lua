-- ARGV: video, tombstone_ms
local video, tombstone_ms = ARGV[1], ARGV[2]

local v = video_load(video)
if v then
    job_remove(v)
    for generation = math.max(1, v.generation - 99), v.generation do -- older ones expire by themselves
        call('DEL', key('job:' .. video .. '.' .. generation))
    end
    call('ZREM', key('videos'), video)
    call('ZREM', key('videos:' .. v.state), video)
end
call('DEL', key('video:' .. video), key('upload:' .. video), key('writer:' .. video))
call('ZREM', key('admitted'), video)
call('ZREM', key('finishing'), video)
call('SET', key('deleted:' .. video), 1, 'PX', tombstone_ms)
return {'OK'}
