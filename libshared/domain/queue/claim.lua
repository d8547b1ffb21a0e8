-- ARGV: worker, nonce, lease_ms, attempts, stalls, class…
local worker, nonce, lease = ARGV[1], ARGV[2], ARGV[3]
local max_attempts, max_stalls = tonumber(ARGV[4]), tonumber(ARGV[5])

-- `f` is of video_load with 'stalls', 'size_bytes', 'record'.
local function handed(v, f, cancel, exhausted)
    local error_text = v.attempts ~= '1' and call('HGET', K .. 'job:' .. v.job, 'error')
    return {'OK', v.job, v.token, v.attempts, f[5], f[6], cancel, exhausted, f[7], error_text}
end

local known = call('MGET', K .. 'epoch', K .. 'fence')
if not known[1] then
    return {'BUSY'}
end
local owned = call('HGET', K .. 'claims', nonce)
if owned then -- the reply was lost
    local v, f = job_find(owned, 'active', 'stalls', 'size_bytes', 'record')
    if v and job_load(v) then
        call('ZADD', K .. 'lease', from_now(lease), v.job)
        return handed(v, f, v.cancel and 1 or 0, 1 - v.charged)
    end
end
local fence = math.max((tonumber(known[2]) or 0) + 1, now_us)
if fence >= MAX_FENCE then
    return redis.error_reply('ERR the fence has reached 2^53: {weir}:fence was tampered with')
end

-- The next job to `active`. What is no waiting job (an id twice in the list, a ghost) falls out on the way.
local lists, class, v, f = {}, nil, nil, nil
for i = 6, #ARGV do
    for priority = 0, 2 do
        local list = K .. 'wait:' .. ARGV[i] .. ':' .. priority
        lists[#lists + 1] = list
        while not v do
            local job = call('LMOVE', list, K .. 'active', 'RIGHT', 'LEFT')
            if not job then
                break
            end
            v, f = job_find(job, 'waiting', 'stalls', 'size_bytes', 'record')
            class = ARGV[i]
            if not v then
                call('LPOP', K .. 'active')
            end
        end
    end
end
if not v then
    return {'NONE'}
end

-- Past its attempts or stalls it is handed out only to be ended, which is no start.
local exhausted = tonumber(v.attempts) >= max_attempts or tonumber(f[5] or 0) >= max_stalls
if not exhausted then
    v.attempts = string.format('%d', v.attempts + 1)
end
fence = string.format('%d', fence)
v.token = fence .. ':' .. nonce
call('SET', K .. 'fence', fence)
call('ZADD', K .. 'lease', from_now(lease), v.job)
call('HSET', K .. 'claims', nonce, v.job)
call('HSET', K .. 'job:' .. v.job, 'token', v.token, 'worker', worker, 'charged', exhausted and '0' or '1',
    'progress', '', 'lease_ms', lease)
video_set(v, 'active', 'attempts', v.attempts)
if call('EXISTS', unpack(lists)) > 0 then -- work is left for somebody else
    ring(class)
end
return handed(v, f, 0, exhausted and 1 or 0)
