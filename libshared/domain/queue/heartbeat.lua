-- ARGV: video, generation, token, lease_ms, progress or ""
local lease, progress = tonumber(ARGV[4]), ARGV[5]

local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif v.state ~= 'active' then
    return {'STALE'}
end

call('ZADD', K .. 'lease', from_now(lease), v.job)
if progress ~= '' then
    call('HSET', K .. 'job:' .. v.job, 'progress', progress)
end
return {'OK', call('HEXISTS', K .. 'job:' .. v.job, 'cancel')}
