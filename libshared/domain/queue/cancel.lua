-- ARGV: video, generation
-- The outcome `cancelled` of that generation stands in the store already.
local video, generation = ARGV[1], ARGV[2]

local refused = refusal(video)
if refused then
    return refused
end
local v = video_load(video)
if not v then
    return {'NONE'}
elseif v.generation > tonumber(generation) then
    return {'STALE'}
end

local job = v.job == video .. '.' .. generation and v.state == 'active' and job_load(v)
if job then -- its worker reads the flag and ends it
    if not job.cancel then
        call('HSET', key('job:' .. job.id), 'cancel', 1)
        publish('cancel', v, 'active', job.attempts)
    end
else
    video_conclude(v, generation, 'cancelled', 'error', '')
end
return {'OK', job and 'active' or 'cancelled'}
