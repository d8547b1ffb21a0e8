-- ARGV: worker, nonce, lease_ms, attempts, stalls, class…
local worker, nonce, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local max_attempts, max_stalls = tonumber(ARGV[4]), tonumber(ARGV[5])

-- Handing over: what the worker needs to know.
local function handed(job)
    local f = call('HMGET', key('video:' .. job.video.id), 'size_bytes', 'record')
    return {'OK', job.id, job.token, job.attempts, job.stalls, f[1], job.cancel and 1 or 0, 1 - job.charged, f[2],
        job.error}
end

-- Moves the next job of a list to `active`. What is no waiting job (an id twice in the list, a ghost) falls out.
local function take(list)
    while true do
        local id = call('LMOVE', list, key('active'), 'RIGHT', 'LEFT')
        local job = id and job_find(id, 'waiting')
        if not id or job then
            return job
        end
        call('LPOP', key('active'))
    end
end

local known = call('MGET', key('epoch'), key('fence'))
if not known[1] then
    return {'BUSY'}
end
local owned = call('HGET', key('claims'), nonce)
local job = owned and job_find(owned, 'active')
if job and string.match(job.token, ':(.*)$') == nonce then -- the reply was lost
    call('ZADD', key('lease'), now_ms + lease, job.id)
    return handed(job)
end
local fence = math.max(tonumber(known[2] or 0) + 1, now_us)
if fence >= MAX_FENCE then
    return redis.error_reply('ERR the fence has reached 2^53: {weir}:fence was tampered with')
end

job = nil
local lists = {}
for i = 6, #ARGV do
    for priority = 0, 2 do
        local list = key('wait:' .. ARGV[i] .. ':' .. priority)
        lists[#lists + 1] = list
        job = job or take(list)
    end
end
if not job then
    return {'NONE'}
end

-- Past its attempts or stalls it is handed out only to be ended, which is no start.
job.charged = (tonumber(job.attempts) >= max_attempts or tonumber(job.stalls) >= max_stalls) and 0 or 1
job.attempts = job.attempts + job.charged
fence = string.format('%.0f', fence)
job.token = fence .. ':' .. nonce
call('SET', key('fence'), fence)
call('ZADD', key('lease'), now_ms + lease, job.id)
call('HSET', key('claims'), nonce, job.id)
job_set(job, 'active', 'token', job.token, 'worker', worker, 'attempts', job.attempts, 'charged', job.charged,
    'progress', '')
if call('EXISTS', unpack(lists)) > 0 then -- work is left for somebody else
    ring(job.class)
end
return handed(job)
