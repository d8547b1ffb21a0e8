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

local function rebuilding()
    return call('EXISTS', K .. 'epoch') == 0
end

local function tombstoned(id)
    return call('EXISTS', K .. 'deleted:' .. id) == 1
end

-- What every script but the rebuild's asks first about a video.
local function refusal(id)
    local found = call('MGET', K .. 'deleted:' .. id, K .. 'epoch')
    if found[1] then
        return {'GONE'}
    elseif not found[2] then
        return {'BUSY'}
    end
end

local function publish(type, v, state)
    call('XADD', K .. 'events', 'MAXLEN', '~', '10000', '*', 'type', type, 'video', v.id, 'job', v.job, 'state', state,
        'attempts', v.attempts)
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

-- The only place where a video changes its state: hash, indexes, event. `...` are further fields of the hash.
local function video_set(v, state, ...)
    if v.state then
        call('ZREM', K .. 'videos:' .. v.state, v.id)
    else
        call('ZADD', K .. 'videos', v.created_ms, v.id)
    end
    call('ZADD', K .. 'videos:' .. state, v.created_ms, v.id)
    call('HSET', K .. 'video:' .. v.id, 'state', state, 'updated_ms', now, ...)
    v.state = state
    publish('state', v, state)
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
    local v, f = video_load(string.match(job, '^[^.]*'), ...)
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

-- Takes an open job from where its state has put it.
local function job_take_off(v)
    if v.state == 'active' then
        call('LREM', K .. 'active', '1', v.job)
        call('ZREM', K .. 'lease', v.job)
        call('HDEL', K .. 'claims', string.match(v.token, ':(.*)$') or '')
    elseif v.state == 'waiting' then
        call('LREM', v.list, '1', v.job)
    else
        call('ZREM', K .. 'delayed', v.job)
    end
end

-- From being active back to the head of its list; the bell rings.
local function job_to_head(v, ...)
    job_take_off(v)
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

-- The job of a video that was just renewed, at the tail of its list; `...` are fields of the video's hash.
local function job_create(v, class, priority, ...)
    call('LPUSH', K .. 'wait:' .. class .. ':' .. priority, v.job)
    call('ZADD', K .. 'open', now, v.job)
    call('HSET', K .. 'job:' .. v.job, 'class', class, 'priority', priority, 'enqueued_ms', now)
    call('ZREM', K .. 'admitted', v.id)
    call('ZREM', K .. 'finishing', v.id)
    video_set(v, 'waiting', ...)
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
