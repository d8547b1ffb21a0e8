-- ARGV: video, generation, token, state, outcome, error
local state, outcome, error_text = ARGV[4], ARGV[5], ARGV[6]

local job, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not job then
    return refused
end
if not OPEN[job.video.state] then -- done already: the reply was lost
    return {'OK'}
end
if job.video.state ~= 'active' then
    return {'STALE'}
end

if state == 'completed' then
    job_finish(job, state, 'error', error_text, 'outcome', outcome)
else -- what was published before stays playable
    job_finish(job, state, 'error', error_text)
end
return {'OK'}
