-- ARGV: video
local video = ARGV[1]

local refused = refusal(video)
if refused then
    return refused
end
local v = video_load(video)
if v and v.state ~= 'uploading' then
    return {'CONFLICT'}
end

call('ZREM', key('admitted'), video)
call('ZREM', key('finishing'), video)
if v then
    call('ZREM', key('videos'), video)
    call('ZREM', key('videos:uploading'), video)
    call('DEL', key('video:' .. video))
    publish('forgotten', v, 'uploading')
end
return {'OK'}
