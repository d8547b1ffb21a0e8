-- ARGV: video, created_ms, record
local id, created_ms, record = ARGV[1], ARGV[2], ARGV[3]

local refused = refusal(id)
if refused then
    return refused
end
if not video_load(id) then
    video_set(video_new(id, '0', nil, created_ms), 'uploading', 'generation', '0', 'created_ms', created_ms, 'record',
        record)
end
return {'OK'}
