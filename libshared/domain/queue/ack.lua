-- ARGV: video, generation, token, state, outcome, error
local state, outcome, error_text = ARGV[4], ARGV[5], ARGV[6]

local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif not OPEN[v.state] then -- done already: the reply was lost
    return {'OK'}
elseif v.state ~= 'active' then
    return {'STALE'}
end

if state == 'completed' then
    job_finish(v, state, 'outcome', outcome)
else -- what was published before stays playable
    job_finish(v, state, 'error', error_text)
end
return {'OK'}
