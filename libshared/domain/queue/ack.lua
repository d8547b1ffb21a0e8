-- ARGV: video, generation, token, state, outcome, error
local state, outcome, error_text = ARGV[4], ARGV[5], ARGV[6]

local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif v.state == 'waiting' or v.state == 'delayed' then
    return {'STALE'}
elseif v.state ~= 'active' then -- done already: the reply was lost
    return {'OK'}
end

if state == 'completed' then
    job_finish(v, state, 'outcome', outcome)
else -- what was published before stays playable
    job_finish(v, state, 'error', error_text)
end
return {'OK'}
