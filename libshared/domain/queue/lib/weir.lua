-- What the scripts share. scripts/embed-lua puts before each script the parts that it names, and no others: a function
-- that is not called costs as much as a command. docs/redis.md describes the keys and their fields.
--
-- A script runs atomically, but Redis does not roll back: everything is validated before the first write. Each returns
-- an array that begins with its verdict. OK; or, with nothing changed:
--   BUSY      the epoch key is missing, a rebuild is under way     GONE  the video is tombstoned
--   STALE     an older generation, or a token that is not current  NONE  there is no such thing
--   FULL      no room                                              CONFLICT  the state forbids it
--
-- The prefix of every key, "{weir}:", has a hash tag, which keeps them on one node of a cluster. Numbers are handed to
-- Redis as text: it would print each with "%.17g", which costs more than many a command.

local call = redis.call
local K = KEYS[1]
local RETENTION_S = '604800' -- seven days: the hashes of finished jobs
local MAX_FENCE = 2 ^ 53     -- integers are exact below

local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000) -- the unit of every score
local now = string.format('%d', now_ms)

-- A time so many milliseconds from now.
local function from_now(ms)
    return string.format('%d', now_ms + ms)
end

local epochs = nil -- how many there are

local function rebuilding()
    epochs = epochs or call('EXISTS', K .. 'epoch')
    return epochs == 0
end

local function tombstoned(id)
    return call('EXISTS', K .. 'deleted:' .. id) == 1
end

-- What every script but the rebuild's asks first about a video.
local function refusal(id)
    if tombstoned(id) then
        return {'GONE'}
    elseif rebuilding() then
        return {'BUSY'}
    end
end

-- For scripts that answer many calls (redis_script_joint). `together` gets an array of their arguments; it returns one of
-- answers when nothing about them is out of the ordinary, else nothing, having changed nothing. Then `alone` gets the
-- arguments of one after the other; that one fails is nothing to the others.
local function each(together, alone)
    local count, calls = tonumber(ARGV[1]), {}
    for first = 2, #ARGV, count do
        calls[#calls + 1] = {unpack(ARGV, first, first + count - 1)}
    end
    local replies = together(calls)
    if replies then
        return replies
    end
    replies = {}
    for i, arguments in ipairs(calls) do
        local ok, reply = pcall(alone, unpack(arguments))
        replies[i] = (ok or type(reply) == 'table') and reply or redis.error_reply(reply)
    end
    return replies
end

-- Of many events at once only the last need trim the stream.
local function publish(type, v, state, more)
    if more then
        call('XADD', K .. 'events', '*', 'type', type, 'video', v.id, 'job', v.job, 'state', state, 'attempts',
            v.attempts)
    else
        call('XADD', K .. 'events', 'MAXLEN', '~', '10000', '*', 'type', type, 'video', v.id, 'job', v.job, 'state',
            state, 'attempts', v.attempts)
    end
end

-- Wakes one worker that waits for this class. A ring that nobody heard stays.
local function ring(class)
    call('ZADD', K .. 'bell:' .. class, '0', 'ring')
end

---- A video, and its job: that of its newest generation, in the same state

local OPEN = {waiting = true, active = true, delayed = true}

local function video_new(id, generation, state, created_ms, attempts)
    return {id = id, generation = tonumber(generation), job = id .. '.' .. generation, state = state,
        created_ms = created_ms, attempts = attempts or '0'}
end

-- `...` are further fields of the hash; their values are what is returned second, from element 5 on.
local function video_load(id, ...)
    local f = call('HMGET', K .. 'video:' .. id, 'generation', 'state', 'created_ms', 'attempts', ...)
    if f[1] then
        return video_new(id, f[1], f[2], f[3], f[4]), f
    end
end

-- The only place where videos change their state: hashes, indexes, events. All come from the same one, or are new.
-- `v.fields` are further fields of the hash.
local function videos_set(videos, state)
    local from, ids, scores = videos[1].state, {}, {}
    for i, v in ipairs(videos) do
        ids[i] = v.id
        scores[2 * i - 1] = v.created_ms
        scores[2 * i] = v.id
        v.state = state
        call('HSET', K .. 'video:' .. v.id, 'state', state, 'updated_ms', now, unpack(v.fields))
        publish('state', v, state, i < #videos)
    end
    if from then
        call('ZREM', K .. 'videos:' .. from, unpack(ids))
    else
        call('ZADD', K .. 'videos', unpack(scores))
    end
    call('ZADD', K .. 'videos:' .. state, unpack(scores))
end

local function video_set(v, state, ...)
    v.fields = {...}
    videos_set({v}, state)
end

-- The next generation of a video that is known, or the first of a new one, without what the one before left.
local function video_renew(v, id, generation, created_ms)
    if v then
        call('HDEL', K .. 'video:' .. id, 'attempts', 'stalls', 'releases', 'error')
    else
        call('DEL', K .. 'job:' .. id .. '.' .. generation)
    end
    return video_new(id, generation, v and v.state, v and v.created_ms or created_ms)
end

-- What struct queue_video holds, in the order in which queue_index.c reads it.
local function video_view(id)
    local f = call('HMGET', K .. 'video:' .. id, 'state', 'generation', 'created_ms', 'updated_ms', 'size_bytes',
        'attempts', 'stalls', 'releases', 'record', 'outcome', 'error')
    if not f[1] then
        return nil
    end
    f[12] = OPEN[f[1]] and call('HGET', K .. 'job:' .. id .. '.' .. f[2], 'progress') or false
    f[13] = id
    return f
end

-- Loads what the job's hash tells; nil when it has none.
local function job_load(v)
    local f = call('HMGET', K .. 'job:' .. v.job, 'class', 'priority', 'token', 'charged', 'cancel')
    if f[1] then
        v.list = K .. 'wait:' .. f[1] .. ':' .. f[2]
        v.class, v.token, v.charged, v.cancel = f[1], f[3], f[4], f[5] == '1'
        return v
    end
end

-- The video of a job that comes out of a list; nil unless it is its newest and in that state. `...` as for video_load.
local function job_find(job, state, ...)
    local v, f = video_load(string.sub(job, 1, (string.find(job, '.', 1, true) or 0) - 1), ...)
    if v and v.job == job and v.state == state then
        return v, f
    end
end

-- The video whose job a token names, as the job's owner sees it; or nil and the verdict.
local function job_held(id, generation, token)
    local refused = refusal(id)
    if refused then
        return nil, refused
    end
    local v = video_load(id)
    if not v or v.job ~= id .. '.' .. generation or call('HGET', K .. 'job:' .. v.job, 'token') ~= token then
        return nil, {'STALE'}
    end
    v.token = token
    return v
end

-- Takes active jobs from their workers.
local function jobs_take_off(videos)
    local jobs, nonces = {}, {}
    for i, v in ipairs(videos) do
        jobs[i] = v.job
        nonces[i] = string.match(v.token, ':(.*)$') or ''
        call('LREM', K .. 'active', '-1', v.job) -- the oldest are likely to end first
    end
    call('ZREM', K .. 'lease', unpack(jobs))
    call('HDEL', K .. 'claims', unpack(nonces))
    return jobs
end

-- Takes an open job from where its state has put it.
local function job_take_off(v)
    if v.state == 'active' then
        jobs_take_off({v})
    elseif v.state == 'waiting' then
        call('LREM', v.list, '1', v.job)
    else
        call('ZREM', K .. 'delayed', v.job)
    end
end

-- Takes an active job from its worker, who may have said how far it is.
local function job_take_back(v)
    job_take_off(v)
    call('HDEL', K .. 'job:' .. v.job, 'progress')
end

-- From being active back to the head of its list; the bell rings.
local function job_to_head(v, ...)
    job_take_back(v)
    call('RPUSH', v.list, v.job)
    video_set(v, 'waiting', ...)
    ring(v.class)
end

-- Ends an open job. Its token stays, so that its owner may repeat an ack whose reply was lost.
local function job_finish(v, state, ...)
    job_take_off(v)
    call('ZREM', K .. 'open', v.job)
    call('EXPIRE', K .. 'job:' .. v.job, RETENTION_S)
    video_set(v, state, ...)
end

-- Removes the open job of a video: a newer generation takes its place, or the video is deleted.
local function job_remove(v)
    if OPEN[v.state] and job_load(v) then
        job_take_off(v)
        call('ZREM', K .. 'open', v.job)
        call('DEL', K .. 'job:' .. v.job)
    end
end

-- Drops what stands for videos until they have a job, or are gone.
local function unreserve(...)
    call('ZREM', K .. 'admitted', ...)
    call('ZREM', K .. 'finishing', ...)
end

-- The jobs of videos that are new or were just renewed (all from the same state), at the tail of the same list.
local function jobs_create(videos, class, priority)
    local jobs, scores = {}, {}
    for i, v in ipairs(videos) do
        jobs[i] = v.job
        scores[2 * i - 1] = now
        scores[2 * i] = v.job
        call('HSET', K .. 'job:' .. v.job, 'class', class, 'priority', priority, 'enqueued_ms', now)
    end
    call('LPUSH', K .. 'wait:' .. class .. ':' .. priority, unpack(jobs))
    call('ZADD', K .. 'open', unpack(scores))
    videos_set(videos, 'waiting')
    ring(class)
end

-- Brings a video in line with the outcome of a generation that is not older than its own.
local function video_conclude(v, generation, state, ...)
    if v.generation < tonumber(generation) then
        job_remove(v)
        video_set(video_renew(v, v.id, generation), state, 'generation', generation, ...)
    elseif OPEN[v.state] and job_load(v) then
        job_finish(v, state, ...)
    elseif v.state ~= state then
        video_set(v, state, ...)
    end
end

---- Claiming

-- The lists of the classes, in the order in which they are served, and how many jobs wait in them.
local function lists_of(...)
    local lists, waiting = {}, 0
    for _, class in ipairs({...}) do
        for priority = 0, 2 do
            local key = K .. 'wait:' .. class .. ':' .. priority
            local length = call('LLEN', key)
            lists[#lists + 1] = {key = key, class = class, length = length}
            waiting = waiting + length
        end
    end
    return lists, waiting
end

-- The first of that many new fences. This comes before all else that is written: a Redis that is full refuses it, and
-- with it the claim.
local function fences_take(count)
    local fence = math.max((tonumber(call('GET', K .. 'fence') or 0) or 0) + 1, now_us)
    if fence > MAX_FENCE - count then
        error(redis.error_reply('ERR the fence has reached 2^53: {weir}:fence was tampered with'))
    end
    call('SET', K .. 'fence', string.format('%d', fence + count - 1))
    return fence
end

-- What a claim is answered, but for how many jobs are left, which comes last; `f` is of video_load with 'stalls',
-- 'size_bytes', 'record'.
local function handed(v, f, cancel, exhausted)
    local error_text = v.attempts ~= '1' and call('HGET', K .. 'job:' .. v.job, 'error')
    return {'OK', v.job, v.token, v.attempts, f[5], f[6], cancel, exhausted, f[7], error_text, 0}
end

-- Gives waiting jobs to the nonces, as far as there are some, with `fence` and those behind it. What is no waiting job
-- (a ghost, an id twice in the list) falls out on the way.
local function hand_out(lists, fence, nonces, worker, lease, max_attempts, max_stalls)
    local videos, replies, leases, claims, taken = {}, {}, {}, {}, {}
    local n, until_ms = 0, from_now(lease)

    local function hand(v, f)
        -- Past its attempts or stalls it is handed out only to be ended, which is no start.
        local exhausted = tonumber(v.attempts) >= max_attempts or tonumber(f[5] or 0) >= max_stalls
        if not exhausted then
            v.attempts = string.format('%d', v.attempts + 1)
        end
        local mine = string.format('%d', fence + n)
        n = n + 1
        v.token = mine .. ':' .. nonces[n]
        v.fields = {'attempts', v.attempts}
        call('HSET', K .. 'job:' .. v.job, 'token', v.token, 'worker', worker, 'charged', exhausted and '0' or '1',
            'lease_ms', lease)
        leases[2 * n - 1], leases[2 * n] = until_ms, v.job
        claims[2 * n - 1], claims[2 * n] = nonces[n], v.job .. ' ' .. mine .. ' ' .. v.attempts .. ' ' .. v.created_ms
        videos[n], taken[v.job] = v, true
        replies[n] = handed(v, f, 0, exhausted and 1 or 0)
    end

    local left = 0
    for _, list in ipairs(lists) do
        while list.length > 0 and n < #nonces do
            local jobs = call('RPOP', list.key, math.min(list.length, #nonces - n))
            list.length = list.length - #jobs
            call('LPUSH', K .. 'active', unpack(jobs))
            for _, job in ipairs(jobs) do
                local v, f = job_find(job, 'waiting', 'stalls', 'size_bytes', 'record')
                if v and not taken[job] then
                    hand(v, f)
                else
                    call('LREM', K .. 'active', '1', job)
                end
            end
        end
        if list.length > 0 then -- work is left for somebody else
            ring(list.class)
        end
        left = left + list.length
    end
    for _, reply in ipairs(replies) do reply[11] = left end
    if n > 0 then
        call('ZADD', K .. 'lease', unpack(leases))
        call('HSET', K .. 'claims', unpack(claims))
        videos_set(videos, 'active')
    end
    return replies
end

-- The answer for a nonce that has a job already, since the reply was lost; nil when it has none.
local function claim_again(nonce, lease)
    local job = string.match(call('HGET', K .. 'claims', nonce) or '', '^%S+')
    if job then
        local v, f = job_find(job, 'active', 'stalls', 'size_bytes', 'record')
        if v and job_load(v) then
            call('ZADD', K .. 'lease', from_now(lease), v.job)
            return handed(v, f, v.cancel and 1 or 0, 1 - v.charged)
        end
    end
end

-- The nonces of claims that differ in nothing else and have no jobs yet; nil when that is not so. The arguments of a
-- claim begin at `from`.
local function nonces_of(calls, from)
    local nonces, seen, first = {}, {}, calls[1]
    for i, c in ipairs(calls) do
        local nonce = c[from + 1]
        for k = from, #first do
            if c[k] ~= first[k] and k ~= from + 1 or seen[nonce] then
                return nil
            end
        end
        nonces[i], seen[nonce] = nonce, true
    end
    for _, job in ipairs(call('HMGET', K .. 'claims', unpack(nonces))) do
        if job then
            return nil
        end
    end
    return nonces
end
