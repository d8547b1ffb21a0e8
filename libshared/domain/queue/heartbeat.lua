-- ARGV: video, generation, token, lease_ms, progress or ""
local lease, progress = tonumber(ARGV[4]), ARGV[5]

local job, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not job then
    return refused
end
if job.video.state ~= 'active' then
    return {'STALE'}
end

call('ZADD', key('lease'), now_ms + lease, job.id)
if progress ~= '' then
    call('HSET', key('job:' .. job.id), 'progress', progress)
end
return {'OK', job.cancel and 1 or 0}
