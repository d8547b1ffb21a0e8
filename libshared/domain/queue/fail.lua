-- ARGV: video, generation, token, error, backoff_ms, backoff_max_ms, 32 random bits
local error_text, base, max, random = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif v.state ~= 'active' then -- given up already: the reply was lost
    return {'OK'}
end

job_load(v)
if v.cancel then
    job_finish(v, 'cancelled')
    return {'OK'}
end
local delay = random / 2 ^ 32 * math.min(max, base * 2 ^ math.max(v.attempts - 1, 0))
job_take_back(v)
call('ZADD', K .. 'delayed', from_now(delay), v.job)
call('HSET', K .. 'job:' .. v.job, 'error', error_text, 'backoff_max_ms', max)
video_set(v, 'delayed')
return {'OK'}
