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
local RETENTION_S = '604800' -- seven days: the hashes of jobs that ended
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

-- A script that answers many calls (redis_script_joint) gets the number of words of each call, the number of those that
-- all have in common, these, and then the words of one call after the other.
local WORDS = tonumber(ARGV[1])
local SHARED = tonumber(ARGV[2])
local CALLS = (#ARGV - 2 - SHARED) / WORDS

-- What stands in ARGV before the words of the i-th call.
local function before(i)
    return 2 + SHARED + (i - 1) * WORDS
end

-- `together` returns an array of answers when nothing about the calls is out of the ordinary, else nothing, having
-- changed nothing. Then `alone` gets the words of one after the other; that one fails is nothing to the others.
local function each(together, alone)
    local replies = together()
    if not replies then
        replies = {}
        for i = 1, CALLS do
            local ok, reply = pcall(alone, unpack(ARGV, before(i) + 1, before(i) + WORDS))
            replies[i] = (ok or type(reply) == 'table') and reply or redis.error_reply(reply)
        end
    end
    return replies
end

local EVENTS = K .. 'events'

-- One entry for all jobs to which the same happens at once: an entry costs as much as what it tells of.
local function publish(type, state, jobs, attempts)
    call('XADD', EVENTS, 'MAXLEN', '~', '10000', '*', 'type', type, 'state', state, 'jobs', table.concat(jobs, ' '),
        'attempts', table.concat(attempts, ' '))
end

-- Wakes one worker that waits for the class of this list. A ring that nobody heard stays.
local function ring(list)
    call('ZADD', K .. 'bell:' .. string.match(list, '^[^:]*'), '0', 'ring')
end

local USUAL_LIST = 'default:1' -- of class and priority; a video says only that its job is in another

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

-- Where videos change their state, and nowhere else: the hash of each is written, and then all of them are moved from one
-- index to another, in one event. `...` are further fields of the hash; the arrays say of each video what their names say.
local function video_write(id, state, ...)
    call('HSET', K .. 'video:' .. id, 'state', state, 'updated_ms', now, ...)
end

local function videos_move(from, state, ids, created_ms, jobs, attempts)
    local scores = {}
    for i = 1, #ids do
        scores[2 * i - 1], scores[2 * i] = created_ms[i], ids[i]
    end
    if from then
        call('ZREM', K .. 'videos:' .. from, unpack(ids))
    else
        call('ZADD', K .. 'videos', unpack(scores))
    end
    call('ZADD', K .. 'videos:' .. state, unpack(scores))
    publish('state', state, jobs, attempts)
end

local function video_set(v, state, ...)
    video_write(v.id, state, ...)
    videos_move(v.state, state, {v.id}, {v.created_ms}, {v.job}, {v.attempts})
    v.state = state
end

-- The next generation of a video that is known, or the first of a new one, without what the one before left.
local function video_renew(v, id, generation, created_ms)
    if v then
        call('HDEL', K .. 'video:' .. id, 'attempts', 'stalls', 'releases', 'error', 'token', 'list')
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

local function nonce_of(token)
    return string.sub(token, (string.find(token, ':', 1, true) or 0) + 1)
end

-- Loads where the open job of a video waits, or who has it.
local function job_load(v)
    local f = call('HMGET', K .. 'video:' .. v.id, 'list', 'token')
    v.list, v.token = f[1] or USUAL_LIST, f[2] or ''
    v.cancel = call('HGET', K .. 'job:' .. v.job, 'cancel') == '1'
    if v.state == 'active' then
        local claim = call('HGET', K .. 'claims', nonce_of(v.token)) or ''
        v.charged, v.lease_ms = string.match(claim, '^%S+ %S+ %d+ %d+ (%d+) (%d+) ')
    end
    return v
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
    local v, f = video_load(id, 'token')
    if not v or v.job ~= id .. '.' .. generation or f[5] ~= token then
        return nil, {'STALE'}
    end
    v.token = token
    return v
end

-- Whether these are the jobs that have been active for longest, in any order.
local function are_the_oldest(jobs)
    local oldest, among = call('LRANGE', K .. 'active', -#jobs, -1), {}
    for i = 1, #oldest do
        among[oldest[i]] = true
    end
    for i = 1, #jobs do
        if not among[jobs[i]] then
            return false
        end
    end
    return true
end

-- Takes active jobs, each once, from their workers.
local function jobs_take_off(jobs, nonces)
    if #jobs > 1 and are_the_oldest(jobs) then -- which those that end together often are
        call('RPOP', K .. 'active', #jobs)
    else
        for i = 1, #jobs do
            call('LREM', K .. 'active', '-1', jobs[i])
        end
    end
    call('ZREM', K .. 'lease', unpack(jobs))
    call('HDEL', K .. 'claims', unpack(nonces))
end

-- Takes an open job from where its state has put it.
local function job_take_off(v)
    if v.state == 'active' then
        jobs_take_off({v.job}, {nonce_of(v.token)})
    elseif v.state == 'waiting' then
        call('LREM', K .. 'wait:' .. v.list, '1', v.job)
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
    call('RPUSH', K .. 'wait:' .. v.list, v.job)
    video_set(v, 'waiting', ...)
    ring(v.list)
end

-- Jobs that were taken off are not open any more. Their tokens stay, so that their owners may repeat an ack whose reply
-- was lost; what was said about them goes after a while.
local function jobs_close(jobs)
    local hashes = {}
    for i = 1, #jobs do
        hashes[i] = K .. 'job:' .. jobs[i]
    end
    call('ZREM', K .. 'open', unpack(jobs))
    if call('EXISTS', unpack(hashes)) > 0 then
        for i = 1, #hashes do
            call('EXPIRE', hashes[i], RETENTION_S)
        end
    end
end

local function job_finish(v, state, ...)
    job_take_off(v)
    jobs_close({v.job})
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

-- The jobs of videos that become waiting, at the tail of their list.
local function jobs_queue(jobs, list)
    local scores = {}
    for i = 1, #jobs do
        scores[2 * i - 1], scores[2 * i] = now, jobs[i]
    end
    call('LPUSH', K .. 'wait:' .. list, unpack(jobs))
    call('ZADD', K .. 'open', unpack(scores))
    ring(list)
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

-- What a claim says of whoever claims stands among what the calls have in common, from the given index on: worker,
-- lease_ms, attempts, stalls, class…

-- The lists of the classes, in the order in which they are served, their lengths, and how many jobs wait in them.
local function lists_of(from)
    local lists, lengths, waiting = {}, {}, 0
    for i = from + 4, 2 + SHARED do
        for priority = 0, 2 do
            local list = ARGV[i] .. ':' .. priority
            local length = call('LLEN', K .. 'wait:' .. list)
            lists[#lists + 1], lengths[#lists + 1] = list, length
            waiting = waiting + length
        end
    end
    return lists, lengths, waiting
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

-- Begins to claim for these nonces, which have no jobs yet: fails, having changed nothing, when nothing can be claimed.
-- The function that is returned gives out the jobs, which may be fewer.
local function claim(nonces, from)
    local lists, lengths, waiting = lists_of(from)
    if waiting == 0 then
        return function() return {} end
    end
    local fence = fences_take(#nonces)
    local worker, lease, max_attempts, max_stalls = unpack(ARGV, from, from + 3)
    local until_ms, replies, leases, claims, taken = from_now(lease), {}, {}, {}, {}
    local ids, created_ms, jobs, attempts = {}, {}, {}, {}
    max_attempts, max_stalls = tonumber(max_attempts), tonumber(max_stalls)

    local suffix = ' ' .. lease .. ' ' .. worker
    local function hand(v, f, n)
        -- Past its attempts or stalls it is handed out only to be ended, which is no start.
        local id, job, tries = v.id, v.job, v.attempts
        local exhausted = tonumber(tries) >= max_attempts or tonumber(f[5] or 0) >= max_stalls
        if not exhausted then
            tries = string.format('%d', tries + 1)
        end
        local token = string.format('%d', fence + n - 1) .. ':' .. nonces[n]
        v.attempts, v.token = tries, token
        ids[n], created_ms[n], jobs[n], attempts[n], taken[job] = id, v.created_ms, job, tries, true
        replies[n] = handed(v, f, 0, exhausted and 1 or 0)
        leases[2 * n - 1], leases[2 * n] = until_ms, job
        claims[2 * n - 1] = nonces[n]
        claims[2 * n] = job .. ' ' .. token .. ' ' .. tries .. ' ' .. v.created_ms .. (exhausted and ' 0' or ' 1') .. suffix
        video_write(id, 'active', 'attempts', tries, 'token', token)
    end

    -- What is no waiting job (a ghost, an id twice in the list) falls out on the way.
    local function hand_from(list, count)
        local popped = call('RPOP', K .. 'wait:' .. list, count)
        call('LPUSH', K .. 'active', unpack(popped))
        for i = 1, count do
            local v, f = job_find(popped[i], 'waiting', 'stalls', 'size_bytes', 'record')
            if v and not taken[v.job] then
                hand(v, f, #ids + 1)
            else
                call('LREM', K .. 'active', '1', popped[i])
            end
        end
    end

    return function()
        local left = 0
        for i = 1, #lists do
            while lengths[i] > 0 and #ids < #nonces do
                local count = math.min(lengths[i], #nonces - #ids)
                hand_from(lists[i], count)
                lengths[i] = lengths[i] - count
            end
            if lengths[i] > 0 then -- work is left for somebody else
                ring(lists[i])
                left = left + lengths[i]
            end
        end
        if ids[1] then
            call('ZADD', K .. 'lease', unpack(leases))
            call('HSET', K .. 'claims', unpack(claims))
            videos_move('waiting', 'active', ids, created_ms, jobs, attempts)
        end
        for i = 1, #replies do
            replies[i][11] = left
        end
        return replies
    end
end

-- The answer for a nonce that has a job already, since the reply was lost; nil when it has none.
local function claim_again(nonce, lease)
    local job = string.match(call('HGET', K .. 'claims', nonce) or '', '^%S+')
    if job then
        local v, f = job_find(job, 'active', 'stalls', 'size_bytes', 'record')
        if v and job_load(v) and v.charged then
            call('ZADD', K .. 'lease', from_now(lease), v.job)
            return handed(v, f, v.cancel and 1 or 0, 1 - v.charged)
        end
    end
end

-- The nonces of the calls, the k-th word of each; nil when one has a job already, or is there twice.
local function new_nonces(k)
    local nonces, seen = {}, {}
    for i = 1, CALLS do
        local nonce = ARGV[before(i) + k]
        if seen[nonce] then
            return nil
        end
        nonces[i], seen[nonce] = nonce, true
    end
    local known = call('HMGET', K .. 'claims', unpack(nonces))
    for i = 1, CALLS do
        if known[i] then
            return nil
        end
    end
    return nonces
end
