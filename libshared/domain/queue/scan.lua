-- ARGV: lease_ms, backoff_max_ms
local lease, backoff_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local MAX_STEP = 100 -- jobs moved by one scan
local MIN_GAP = 2500 -- ms; scans come every second, however short the lease is

local function promote(id)
    local job = job_find(id, 'delayed')
    call('ZREM', key('delayed'), id)
    if not job then
        return 0
    end
    call('LPUSH', wait_list(job), id)
    job_set(job, 'waiting')
    ring(job.class)
    return 1
end

local function reclaim(id)
    local job = job_find(id, 'active')
    if not job then
        call('ZREM', key('lease'), id)
        call('LREM', key('active'), 0, id)
        return 0
    end
    job.stalls = job.stalls + 1
    if job.cancel then
        job_finish(job, 'cancelled')
    else -- without its token, so that whoever held it learns that it lost it
        job_to_head(job, 'stalls', job.stalls, 'token', '')
    end
    return 1
end

-- Active, but without a lease that could end.
local function unleased()
    local ids = {}
    if call('LLEN', key('active')) ~= call('ZCARD', key('lease')) then
        for _, id in ipairs(call('LRANGE', key('active'), 0, -1)) do
            if #ids < MAX_STEP and not call('ZSCORE', key('lease'), id) then
                ids[#ids + 1] = id
            end
        end
    end
    return ids
end

local function sum(ids, step)
    local n = 0
    for _, id in ipairs(ids) do
        n = n + step(id)
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

if now_ms < last or now_ms - last > math.max(lease / 2, MIN_GAP) then -- Redis was away, or its clock jumped: nobody could extend a lease
    local extended = sum(call('ZRANGE', key('lease'), 0, -1), function(id)
        call('ZADD', key('lease'), now_ms + lease, id)
        return 1
    end)
    return {'OK', promoted, 0, extended}
end
local reclaimed = sum(call('ZRANGE', key('lease'), '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_STEP), reclaim)
    + sum(unleased(), reclaim)
return {'OK', promoted, reclaimed, 0}
