-- ARGV: worker, nonce, lease_ms, attempts, stalls, class…
local worker, nonce, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local max_attempts, max_stalls = tonumber(ARGV[4]), tonumber(ARGV[5])

local known = call('MGET', key('epoch'), key('fence'))
if not known[1] then
    return {'BUSY'}
end
local owned = call('HGET', key('claims'), nonce)
local v = owned and job_find(owned, 'active')
if v and job_load(v) and string.match(v.token, ':(.*)$') == nonce then -- the reply was lost
    local f = call('HMGET', key('video:' .. v.id), 'stalls', 'size_bytes', 'record')
    call('ZADD', key('lease'), now_ms + lease, v.job)
    return {'OK', v.job, v.token, v.attempts, f[1], f[2], v.cancel and 1 or 0, 1 - v.charged, f[3],
        call('HGET', key('job:' .. v.job), 'error')}
end
local fence = math.max(tonumber(known[2] or 0) + 1, now_us)
if fence >= MAX_FENCE then
    return redis.error_reply('ERR the fence has reached 2^53: {weir}:fence was tampered with')
end

-- The next job to `active`. What is no waiting job (an id twice in the list, a ghost) falls out on the way.
v = nil
local lists, class = {}, nil
for i = 6, #ARGV do
    for priority = 0, 2 do
        lists[#lists + 1] = key('wait:' .. ARGV[i] .. ':' .. priority)
        while not v do
            local job = call('LMOVE', lists[#lists], key('active'), 'RIGHT', 'LEFT')
            if not job then
                break
            end
            v, class = job_find(job, 'waiting'), ARGV[i]
            if not v then
                call('LPOP', key('active'))
            end
        end
    end
end
if not v then
    return {'NONE'}
end

-- Past its attempts or stalls it is handed out only to be ended, which is no start.
local f = call('HMGET', key('video:' .. v.id), 'stalls', 'size_bytes', 'record')
local exhausted = tonumber(v.attempts) >= max_attempts or tonumber(f[1] or 0) >= max_stalls
if not exhausted then
    v.attempts = string.format('%d', v.attempts + 1)
end
fence = string.format('%.0f', fence)
local token = fence .. ':' .. nonce
call('SET', key('fence'), fence)
call('ZADD', key('lease'), now_ms + lease, v.job)
call('HSET', key('claims'), nonce, v.job)
call('HSET', key('job:' .. v.job), 'token', token, 'worker', worker, 'charged', exhausted and '0' or '1', 'progress', '')
video_set(v, 'active', 'attempts', v.attempts)
if call('EXISTS', unpack(lists)) > 0 then -- work is left for somebody else
    ring(class)
end
return {'OK', v.job, token, v.attempts, f[1], f[2], 0, exhausted and 1 or 0, f[3],
    call('HGET', key('job:' .. v.job), 'error')}
