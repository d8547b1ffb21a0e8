-- ARGV: video
local id = ARGV[1]

if tombstoned(id) then
    return {'GONE'}
end
local view = video_view(id)
if view then
    return {'OK', view}
elseif rebuilding() then
    return {'BUSY'}
end
return {'NONE'}
