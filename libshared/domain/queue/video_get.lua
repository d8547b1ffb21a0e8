-- ARGV: video
local video = ARGV[1]

if call('EXISTS', key('deleted:' .. video)) == 1 then
    return {'GONE'}
end
local view = video_view(video)
if view then
    return {'OK', view}
elseif rebuilding() then
    return {'BUSY'}
end
return {'NONE'}
