-- Put before every script of the queue by scripts/embed-lua; docs/redis.md describes the keys and their fields.
--
-- A script runs atomically, but Redis does not roll back: everything is validated before the first write. Each returns
-- an array that begins with its verdict. OK; or, with nothing changed:
--   BUSY      the epoch key is missing, a rebuild is under way     GONE  the video is tombstoned
--   STALE     an older generation, or a token that is not current  NONE  there is no such thing
--   FULL      no room                                              CONFLICT  the state forbids it
--
-- KEYS[1] is "{weir}:", the prefix of every key; its hash tag keeps them on one node of a cluster.

local call = redis.call
local RETENTION_S = 7 * 24 * 3600 -- of the hashes of finished jobs
local MAX_FENCE = 2 ^ 53          -- integers are exact below

local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000) -- ms, the unit of every score but the fence

local function key(name)
    return KEYS[1] .. name
end

local function rebuilding()
    return call('EXISTS', key('epoch')) == 0
end

local function tombstoned(video)
    return call('EXISTS', key('deleted:' .. video)) == 1
end

-- What every script but the rebuild's asks first about a video.
local function refusal(video)
    if tombstoned(video) then
        return {'GONE'}
    elseif rebuilding() then
        return {'BUSY'}
    end
end

local function publish(type, v, state, attempts)
    call('XADD', key('events'), 'MAXLEN', '~', 10000, '*', 'type', type, 'video', v.id, 'generation', v.generation,
        'state', state, 'attempts', attempts or 0)
end

-- Wakes one worker that waits for this class. A ring that nobody heard stays.
local function ring(class)
    call('ZADD', key('bell:' .. class), 0, 'ring')
end

local function wait_list(job)
    return key('wait:' .. job.class .. ':' .. job.priority)
end

---- Videos

local OPEN = {waiting = true, active = true, delayed = true}

local function video_load(id)
    local f = call('HMGET', key('video:' .. id), 'state', 'generation', 'created_ms')
    if f[1] then
        return {id = id, state = f[1], generation = tonumber(f[2]), created_ms = f[3]}
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
    call('HSET', key('video:' .. v.id), 'state', state, 'generation', v.generation, 'updated_ms', now, ...)
    v.state = state
    publish('state', v, state, attempts)
end

-- What queue_video holds, in the order in which queue_index.c reads it.
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

---- Jobs

local function job_load(v)
    local id = v.id .. '.' .. string.format('%.0f', v.generation)
    local f = call('HMGET', key('job:' .. id), 'state', 'class', 'priority', 'token', 'attempts', 'charged', 'stalls',
        'releases', 'cancel')
    if f[1] then
        return {id = id, video = v, state = f[1], class = f[2], priority = f[3], token = f[4], attempts = tonumber(f[5]),
            charged = tonumber(f[6]), stalls = tonumber(f[7]), releases = tonumber(f[8]), cancel = f[9] == '1'}
    end
end

-- A job by its id, for ids that come out of lists; nil unless it is its video's newest.
local function job_find(id)
    local video, generation = string.match(id, '^([^.]+)%.(%d+)$')
    local v = video and video_load(video)
    if v and v.generation == tonumber(generation) and not tombstoned(video) then
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
        call('LREM', wait_list(job), 1, job.id)
    end,
    delayed = function(job)
        call('ZREM', key('delayed'), job.id)
    end,
    active = function(job)
        call('LREM', key('active'), 1, job.id)
        call('ZREM', key('lease'), job.id)
        call('HDEL', key('claims'), string.match(job.token, ':(.*)$') or '')
    end,
}

local function job_set(job, state, ...)
    call('HSET', key('job:' .. job.id), 'state', state, ...)
    job.state = state
    video_set(job.video, state, job.attempts)
end

-- From being active back to the head of its list; the bell rings.
local function job_to_head(job, ...)
    take_off.active(job)
    call('RPUSH', wait_list(job), job.id)
    job_set(job, 'waiting', ...)
    ring(job.class)
end

-- Ends an open job. The token stays, so that its owner may repeat an ack whose reply was lost.
local function job_finish(job, state, ...)
    take_off[job.state](job)
    call('ZREM', key('open'), job.id)
    call('HSET', key('job:' .. job.id), 'state', state)
    call('EXPIRE', key('job:' .. job.id), RETENTION_S)
    video_set(job.video, state, job.attempts, 'attempts', job.attempts, 'stalls', job.stalls, 'releases', job.releases,
        ...)
end

-- Removes the open job of a video, if there is one: a newer generation takes its place, or the video is deleted.
local function job_remove(v)
    local job = OPEN[v.state] and job_load(v)
    if job and OPEN[job.state] then
        take_off[job.state](job)
        call('ZREM', key('open'), job.id)
        call('DEL', key('job:' .. job.id))
    end
end

-- A new job for v.generation, into the tail of its list.
local function job_create(v, class, priority, ...)
    local job = {id = v.id .. '.' .. string.format('%.0f', v.generation), video = v, class = class, priority = priority,
        attempts = 0}
    call('LPUSH', wait_list(job), job.id)
    call('ZADD', key('open'), now, job.id)
    call('DEL', key('job:' .. job.id)) -- what a lost video hash left behind
    call('HSET', key('job:' .. job.id), 'state', 'waiting', 'class', class, 'priority', priority, 'attempts', 0,
        'charged', 0, 'stalls', 0, 'releases', 0, 'enqueued_ms', now)
    call('ZREM', key('admitted'), v.id)
    call('ZREM', key('finishing'), v.id)
    video_set(v, 'waiting', 0, 'attempts', 0, 'stalls', 0, 'releases', 0, 'error', '', ...)
    ring(class)
end

-- Brings a video in line with the outcome of a generation that is not older than its own.
local function video_conclude(v, generation, state, ...)
    if v.generation == generation then
        local job = OPEN[v.state] and job_load(v)
        if job and OPEN[job.state] then
            job_finish(job, state, ...)
        elseif v.state ~= state then
            video_set(v, state, 0, ...)
        end
    else
        job_remove(v)
        v.generation = generation
        video_set(v, state, 0, 'attempts', 0, 'stalls', 0, 'releases', 0, ...)
    end
end
