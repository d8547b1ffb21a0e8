-- ARGV: video, generation, token, lease_ms, progress or ""
local lease, progress = tonumber(ARGV[4]), ARGV[5]

local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif v.state ~= 'active' then
    return {'STALE'}
end

call('ZADD', key('lease'), now_ms + lease, v.job)
if progress ~= '' then
    call('HSET', key('job:' .. v.job), 'progress', progress)
end
return {'OK', call('HEXISTS', key('job:' .. v.job), 'cancel')}
