-- Put before every script of the queue by scripts/embed-lua; docs/redis.md describes the keys and their fields.
--
-- A script runs atomically, but Redis does not roll back: everything is validated before the first write. Each returns
-- an array that begins with its verdict. OK; or, with nothing changed:
--   BUSY      the epoch key is missing, a rebuild is under way     GONE  the video is tombstoned
--   STALE     an older generation, or a token that is not current  NONE  there is no such thing
--   FULL      no room                                              CONFLICT  the state forbids it
--
-- KEYS[1] is "{weir}:", the prefix of every key; its hash tag keeps them on one node of a cluster. Numbers are handed to
-- Redis as strings where it can be done: it would print each with "%.17g", which costs more than most commands.

local call = redis.call
local RETENTION_S = '604800' -- seven days: the hashes of finished jobs
local MAX_FENCE = 2 ^ 53     -- integers are exact below

local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000) -- the unit of every score
local now = string.format('%.0f', now_ms)

local function key(name)
    return KEYS[1] .. name
end

local function rebuilding()
    return call('EXISTS', key('epoch')) == 0
end

-- What every script but the rebuild's asks first about a video.
local function refusal(video)
    local found = call('MGET', key('deleted:' .. video), key('epoch'))
    if found[1] then
        return {'GONE'}
    elseif not found[2] then
        return {'BUSY'}
    end
end

local function publish(type, v, state, attempts)
    call('XADD', key('events'), 'MAXLEN', '~', '10000', '*', 'type', type, 'video', v.id, 'job', v.job, 'state', state,
        'attempts', attempts or '0')
end

-- Wakes one worker that waits for this class. A ring that nobody heard stays.
local function ring(class)
    call('ZADD', key('bell:' .. class), '0', 'ring')
end

local function wait_list(job)
    return key('wait:' .. job.class .. ':' .. job.priority)
end

---- Videos

local OPEN = {waiting = true, active = true, delayed = true}

local function video_new(id, generation, state, created_ms)
    return {id = id, generation = tonumber(generation), job = id .. '.' .. generation, state = state,
        created_ms = created_ms}
end

local function video_load(id)
    local f = call('HMGET', key('video:' .. id), 'state', 'generation', 'created_ms')
    if f[1] then
        return video_new(id, f[2], f[1], f[3])
    end
end

-- The only place where a video changes its state: hash, indexes, event. `...` are further fields of the hash.
local function video_set(v, state, attempts, ...)
    if v.state ~= state then
        if v.state then
            call('ZREM', key('videos:' .. v.state), v.id)
        else
            call('ZADD', key('videos'), v.created_ms, v.id)
        end
        call('ZADD', key('videos:' .. state), v.created_ms, v.id)
    end
    call('HSET', key('video:' .. v.id), 'state', state, 'updated_ms', now, ...)
    v.state = state
    publish('state', v, state, attempts)
end

-- The next generation of a video that is known, or the first of a new one, without what the one before left.
local function video_renew(v, id, generation, created_ms)
    if v then
        call('HDEL', key('video:' .. id), 'attempts', 'stalls', 'releases', 'error')
    else
        call('DEL', key('job:' .. id .. '.' .. generation))
    end
    return video_new(id, generation, v and v.state, v and v.created_ms or created_ms)
end

-- What struct queue_video holds, in the order in which queue_index.c reads it.
local function video_view(id)
    local f = call('HMGET', key('video:' .. id), 'state', 'generation', 'created_ms', 'updated_ms', 'size_bytes',
        'attempts', 'stalls', 'releases', 'record', 'outcome', 'error')
    if OPEN[f[1]] then -- until it ends, the job is what counts
        local j = call('HMGET', key('job:' .. id .. '.' .. f[2]), 'attempts', 'stalls', 'releases', 'progress')
        f[6], f[7], f[8], f[12] = j[1], j[2], j[3], j[4]
    else
        f[12] = false
    end
    f[13] = id
    return f[1] and f
end

---- Jobs: a job is in the state of its video

local function job_load(v)
    local f = call('HMGET', key('job:' .. v.job), 'class', 'priority', 'token', 'attempts', 'charged', 'stalls',
        'releases', 'cancel', 'error')
    if f[1] then
        return {id = v.job, video = v, class = f[1], priority = f[2], token = f[3], attempts = f[4] or '0',
            charged = f[5] or '0', stalls = f[6] or '0', releases = f[7] or '0', cancel = f[8] == '1', error = f[9]}
    end
end

-- The open job of a video, if there is one.
local function job_open(v)
    return OPEN[v.state] and job_load(v) or nil
end

-- A job by its id, for ids that come out of lists; nil unless it is in that state.
local function job_find(id, state)
    local v = video_load(string.match(id, '^[^.]*'))
    if v and v.job == id and v.state == state then
        return job_load(v)
    end
end

-- The job that a token names, as its owner sees it; or nil and the verdict.
local function job_held(video, generation, token)
    local refused = refusal(video)
    if refused then
        return nil, refused
    end
    local v = video_load(video)
    local job = v and v.generation == tonumber(generation) and job_load(v)
    if not job or job.token ~= token then
        return nil, {'STALE'}
    end
    return job
end

local take_off = {
    waiting = function(job)
        call('LREM', wait_list(job), '1', job.id)
    end,
    delayed = function(job)
        call('ZREM', key('delayed'), job.id)
    end,
    active = function(job)
        call('LREM', key('active'), '1', job.id)
        call('ZREM', key('lease'), job.id)
        call('HDEL', key('claims'), string.match(job.token, ':(.*)$') or '')
    end,
}

-- Moves an open job on; `...` are fields of its hash.
local function job_set(job, state, ...)
    if ... then
        call('HSET', key('job:' .. job.id), ...)
    end
    video_set(job.video, state, job.attempts)
end

-- From being active back to the head of its list; the bell rings.
local function job_to_head(job, ...)
    take_off.active(job)
    call('RPUSH', wait_list(job), job.id)
    job_set(job, 'waiting', ...)
    ring(job.class)
end

-- Ends an open job. Its token stays, so that its owner may repeat an ack whose reply was lost.
local function job_finish(job, state, ...)
    take_off[job.video.state](job)
    call('ZREM', key('open'), job.id)
    call('EXPIRE', key('job:' .. job.id), RETENTION_S)
    video_set(job.video, state, job.attempts, 'attempts', job.attempts, 'stalls', job.stalls, 'releases', job.releases,
        ...)
end

-- Removes the open job of a video: a newer generation takes its place, or the video is deleted.
local function job_remove(v)
    local job = job_open(v)
    if job then
        take_off[v.state](job)
        call('ZREM', key('open'), job.id)
        call('DEL', key('job:' .. job.id))
    end
end

-- The job of a video that was just renewed, at the tail of its list; `...` are fields of the video's hash.
local function job_create(v, class, priority, ...)
    local job = {id = v.job, class = class, priority = priority}
    call('LPUSH', wait_list(job), job.id)
    call('ZADD', key('open'), now, job.id)
    call('HSET', key('job:' .. job.id), 'class', class, 'priority', priority, 'enqueued_ms', now)
    call('ZREM', key('admitted'), v.id)
    call('ZREM', key('finishing'), v.id)
    video_set(v, 'waiting', '0', ...)
    ring(class)
end

-- Brings a video in line with the outcome of a generation that is not older than its own.
local function video_conclude(v, generation, state, ...)
    local job = job_open(v)
    if v.generation < tonumber(generation) then
        job_remove(v)
        v = video_renew(v, v.id, generation)
        video_set(v, state, '0', 'generation', generation, ...)
    elseif job then
        job_finish(job, state, ...)
    elseif v.state ~= state then
        video_set(v, state, '0', ...)
    end
end
