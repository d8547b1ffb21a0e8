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

unreserve(id)
if v then
    call('ZREM', K .. 'videos', id)
    call('ZREM', K .. 'videos:uploading', id)
    call('DEL', K .. 'video:' .. id)
    publish('forgotten', 'uploading', {v.job}, {v.attempts})
end
return {'OK'}
