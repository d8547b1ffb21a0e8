-- ARGV: video
local id = ARGV[1]

local refused = refusal(id)
if refused then
    return refused
end
local v = video_load(id)
if v and v.state ~= 'uploading' then
    return {'CONFLICT'}
end

call('ZREM', key('admitted'), id)
call('ZREM', key('finishing'), id)
if v then
    call('ZREM', key('videos'), id)
    call('ZREM', key('videos:uploading'), id)
    call('DEL', key('video:' .. id))
    publish('forgotten', v, 'uploading')
end
return {'OK'}
