-- ARGV: video, generation
-- The outcome `cancelled` of that generation stands in the store already.
local id, generation = ARGV[1], ARGV[2]

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

if v.job == id .. '.' .. generation and v.state == 'active' and job_load(v) then
    if not v.cancel then -- its worker reads the flag and ends it
        call('HSET', K .. 'job:' .. v.job, 'cancel', 1)
        publish('cancel', 'active', {v.job}, {v.attempts})
    end
    return {'OK', 'active'}
end
video_conclude(v, generation, 'cancelled', 'error', '')
return {'OK', 'cancelled'}
