-- ARGV: video, created_ms, record
local video, created_ms, record = ARGV[1], ARGV[2], ARGV[3]

local refused = refusal(video)
if refused then
    return refused
end
if not video_load(video) then
    video_set(video_new(video, '0', nil, created_ms), 'uploading', '0', 'generation', '0', 'created_ms', created_ms,
        'record', record)
end
return {'OK'}
