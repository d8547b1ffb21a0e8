-- ARGV: video, generation, token, error, backoff_ms, backoff_max_ms, 32 random bits
local error_text, base, max, random = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local job, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not job then
    return refused
end
if job.video.state ~= 'active' then -- given up already: the reply was lost
    return {'OK'}
end

if job.cancel then
    job_finish(job, 'cancelled')
    return {'OK'}
end
local delay = random / 2 ^ 32 * math.min(max, base * 2 ^ math.max(job.attempts - 1, 0))
take_off.active(job)
call('ZADD', key('delayed'), now_ms + math.floor(delay), job.id)
job_set(job, 'delayed', 'error', error_text)
return {'OK'}
