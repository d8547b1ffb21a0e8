-- ARGV: video, generation, state, outcome, error
local id, generation, state = ARGV[1], ARGV[2], ARGV[3]
local outcome, error_text = ARGV[4], ARGV[5]

local refused = refusal(id)
if refused then
    return refused
end
local v = video_load(id)
if not v then
    return {'NONE'}
elseif v.generation > tonumber(generation) then
    return {'STALE'}
end

call('ZREM', K .. 'finishing', id)
if state == 'completed' then
    video_conclude(v, generation, state, 'error', error_text, 'outcome', outcome)
else
    video_conclude(v, generation, state, 'error', error_text)
end
return {'OK'}
