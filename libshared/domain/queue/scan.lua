-- ARGV: lease_ms, backoff_max_ms
local lease, backoff_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local MAX_STEP = 100 -- jobs moved by one scan
local MIN_GAP = 2500 -- ms; scans come every second, however short the lease is

local function promote(job)
    local v = job_find(job, 'delayed')
    call('ZREM', key('delayed'), job)
    if not v or not job_load(v) then
        return 0
    end
    call('LPUSH', v.list, job)
    video_set(v, 'waiting')
    ring(v.class)
    return 1
end

local function reclaim(job)
    local v = job_find(job, 'active')
    if not v or not job_load(v) then
        call('ZREM', key('lease'), job)
        call('LREM', key('active'), 0, job)
        return 0
    end
    call('HINCRBY', key('video:' .. v.id), 'stalls', 1)
    if v.cancel then
        job_finish(v, 'cancelled')
    else -- without its token, so that whoever held it learns that it lost it
        job_to_head(v)
        call('HDEL', key('job:' .. job), 'token')
    end
    return 1
end

-- Active, but without a lease that could end.
local function unleased()
    local jobs = {}
    if call('LLEN', key('active')) ~= call('ZCARD', key('lease')) then
        for _, job in ipairs(call('LRANGE', key('active'), 0, -1)) do
            if #jobs < MAX_STEP and not call('ZSCORE', key('lease'), job) then
                jobs[#jobs + 1] = job
            end
        end
    end
    return jobs
end

local function sum(jobs, step)
    local n = 0
    for _, job in ipairs(jobs) do
        n = n + step(job)
    end
    return n
end

if rebuilding() then
    return {'BUSY'}
end
local last = tonumber(call('GET', key('last_scan')) or 0)
call('SET', key('last_scan'), now)

-- A job that is due further away than any back-off: the clock was set back.
local promoted = sum(call('ZRANGE', key('delayed'), '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), promote)
    + sum(call('ZRANGE', key('delayed'), now_ms + backoff_max + 1, '+inf', 'BYSCORE', 'LIMIT', 0, MAX_STEP), promote)

-- Redis was away, or its clock jumped: nobody could extend a lease.
if now_ms < last or now_ms - last > math.max(lease / 2, MIN_GAP) then
    local extended = sum(call('ZRANGE', key('lease'), 0, -1), function(job)
        call('ZADD', key('lease'), now_ms + lease, job)
        return 1
    end)
    return {'OK', promoted, 0, extended}
end
local reclaimed = sum(call('ZRANGE', key('lease'), '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), reclaim)
    + sum(unleased(), reclaim)
return {'OK', promoted, reclaimed, 0}
