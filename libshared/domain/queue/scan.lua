-- ARGV: lease_ms, backoff_max_ms
local lease, backoff_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local MAX_STEP = 100 -- jobs moved by one scan
local MIN_GAP = 2500 -- ms; scans come every second, however short the lease is

local function promote(job)
    local v = job_find(job, 'delayed')
    call('ZREM', K .. 'delayed', job)
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
        call('ZREM', K .. 'lease', job)
        call('LREM', K .. 'active', 0, job)
        return 0
    end
    call('HINCRBY', K .. 'video:' .. v.id, 'stalls', 1)
    if v.cancel then
        job_finish(v, 'cancelled')
    else -- without its token, so that whoever held it learns that it lost it
        job_to_head(v)
        call('HDEL', K .. 'job:' .. job, 'token')
    end
    return 1
end

-- Active, but without a lease that could end.
local function unleased()
    local jobs = {}
    if call('LLEN', K .. 'active') ~= call('ZCARD', K .. 'lease') then
        for _, job in ipairs(call('LRANGE', K .. 'active', 0, -1)) do
            if #jobs < MAX_STEP and not call('ZSCORE', K .. 'lease', job) then
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
local last = tonumber(call('GET', K .. 'last_scan') or 0)
call('SET', K .. 'last_scan', now)

-- A job that is due further away than any back-off: the clock was set back.
local promoted = sum(call('ZRANGE', K .. 'delayed', '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), promote)
    + sum(call('ZRANGE', K .. 'delayed', from_now(backoff_max + 1), '+inf', 'BYSCORE', 'LIMIT', 0, MAX_STEP), promote)

-- Redis was away, or its clock jumped: nobody could extend a lease.
if now_ms < last or now_ms - last > math.max(lease / 2, MIN_GAP) then
    local extended = sum(call('ZRANGE', K .. 'lease', 0, -1), function(job)
        call('ZADD', K .. 'lease', from_now(lease), job)
        return 1
    end)
    return {'OK', promoted, 0, extended}
end
local reclaimed = sum(call('ZRANGE', K .. 'lease', '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), reclaim)
    + sum(unleased(), reclaim)
return {'OK', promoted, reclaimed, 0}
