-- ARGV, of all calls: list (class:priority); of each: video, generation, created_ms, size_bytes, record
local list = ARGV[3]

-- What is asked for most often stands at the beginning of the hash, the long record at the end.
local function write(id, generation, created_ms, size_bytes, record)
    video_write(id, 'waiting', 'generation', generation, 'created_ms', created_ms, 'size_bytes', size_bytes,
        'record', record)
    if list ~= USUAL_LIST then
        call('HSET', K .. 'video:' .. id, 'list', list)
    end
end

-- Their times of creation, when all of these are being uploaded; else nil.
local function uploading(ids)
    local created_ms = {}
    for i = 1, #ids do
        local v = video_load(ids[i])
        if not v or v.state ~= 'uploading' then
            return nil
        end
        created_ms[i] = v.created_ms
    end
    return created_ms
end

-- Videos that were uploaded, or of which nobody has heard yet: those have no job of that name either.
local function together()
    local ids, jobs, tombstones, hashes, created_ms, attempts, seen, replies = {}, {}, {}, {}, {}, {}, {}, {}
    local at, done = before(1), {'OK', 0}
    for i = 1, CALLS do
        local id = ARGV[at + 1]
        if seen[id] then
            return nil
        end
        ids[i], jobs[i], created_ms[i], seen[id] = id, id .. '.' .. ARGV[at + 2], ARGV[at + 3], true
        hashes[i], tombstones[i] = K .. 'video:' .. id, K .. 'deleted:' .. id
        attempts[i], replies[i] = '0', done
        at = at + WORDS
    end
    if rebuilding() or call('EXISTS', unpack(tombstones)) > 0 then
        return nil
    end
    local from = call('EXISTS', unpack(hashes)) > 0 and 'uploading' or nil
    created_ms = from and uploading(ids) or not from and created_ms
    if not created_ms then
        return nil
    end
    unreserve(unpack(ids))
    at = before(1)
    for i = 1, CALLS do
        write(ids[i], ARGV[at + 2], created_ms[i], ARGV[at + 4], ARGV[at + 5])
        at = at + WORDS
    end
    jobs_queue(jobs, list)
    videos_move(from, 'waiting', ids, created_ms, jobs, attempts)
    return replies
end

local function alone(id, generation, created_ms, size_bytes, record)
    local refused = refusal(id)
    if refused then
        return refused
    end
    local v = video_load(id)
    if v and v.generation > tonumber(generation) then
        return {'STALE'}
    end
    unreserve(id)
    if v and v.generation == tonumber(generation) then -- whatever became of it; its job's hash may be gone by now
        return {'OK', 1}
    end
    if v then
        job_remove(v)
    end
    v = video_renew(v, id, generation, created_ms)
    write(id, generation, v.created_ms, size_bytes, record)
    jobs_queue({v.job}, list)
    videos_move(v.state, 'waiting', {id}, {v.created_ms}, {v.job}, {'0'})
    return {'OK', 0}
end

return each(together, alone)
