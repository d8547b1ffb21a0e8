-- ARGV: lease_ms, backoff_max_ms
-- The scanner's own settings count only for jobs that do not tell those of their worker.
local lease, backoff_max = ARGV[1], ARGV[2]
local MAX_STEP = 100 -- jobs moved by one scan
local MIN_GAP = 2500 -- ms; scans come every second, however short the lease is

local function promote(job)
    local v = job_find(job, 'delayed')
    call('ZREM', K .. 'delayed', job)
    if not v then
        return 0
    end
    job_load(v)
    call('LPUSH', K .. 'wait:' .. v.list, job)
    video_set(v, 'waiting')
    ring(v.list)
    return 1
end

local function reclaim(job)
    local v = job_find(job, 'active')
    if not v then
        call('ZREM', K .. 'lease', job)
        call('LREM', K .. 'active', 0, job)
        return 0
    end
    job_load(v)
    call('HINCRBY', K .. 'video:' .. v.id, 'stalls', 1)
    if v.cancel then
        job_finish(v, 'cancelled')
    else -- without its token, so that whoever held it learns that it lost it
        job_to_head(v)
        call('HDEL', K .. 'video:' .. v.id, 'token')
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

local gap = now_ms - last

local function promote_far(job)
    local most = tonumber(call('HGET', K .. 'job:' .. job, 'backoff_max_ms') or backoff_max)
    return call('ZSCORE', K .. 'delayed', job) - now_ms > most and promote(job) or 0
end

-- Redis was away, or its clock jumped: nobody could extend this lease.
local function extend(job)
    local v = job_find(job, 'active')
    local ms = tonumber(v and job_load(v) and v.lease_ms or lease)
    if gap >= 0 and gap <= math.max(ms / 2, MIN_GAP) then
        return 0
    end
    call('ZADD', K .. 'lease', from_now(ms), job)
    return 1
end

-- Those that are due, and those that are due further away than their back-off goes: the clock was set back.
local promoted = sum(call('ZRANGE', K .. 'delayed', '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), promote)
    + sum(call('ZRANGE', K .. 'delayed', '+inf', from_now(1000), 'BYSCORE', 'REV', 'LIMIT', 0, MAX_STEP), promote_far)

local extended = 0
if gap < 0 or gap > MIN_GAP then
    extended = sum(call('ZRANGE', K .. 'lease', 0, -1), extend)
end
local reclaimed = sum(call('ZRANGE', K .. 'lease', '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), reclaim)
    + (extended == 0 and sum(unleased(), reclaim) or 0)
return {'OK', promoted, reclaimed, extended}
