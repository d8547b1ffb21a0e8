-- ARGV, of all calls: list (class:priority); of each: video, generation, created_ms, size_bytes, record
local list = ARGV[3]

-- What is asked for most often stands at the beginning of the hash, the long record at the end.
local function write(id, job, more, generation, created_ms, size_bytes, record)
    video_write(id, job, 'waiting', '0', more, 'generation', generation, 'created_ms', created_ms, 'list', list,
        'size_bytes', size_bytes, 'record', record)
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

-- Videos that were uploaded, or of which nobody has heard yet; without a job of that name.
local function together()
    local ids, jobs, keys, hashes, created_ms, seen, replies = {}, {}, {}, {}, {}, {}, {}
    for i = 1, CALLS do
        local id, generation = ARGV[before(i) + 1], ARGV[before(i) + 2]
        local job = id .. '.' .. generation
        if seen[id] then
            return nil
        end
        ids[i], jobs[i], created_ms[i], seen[id] = id, job, ARGV[before(i) + 3], true
        hashes[i], keys[2 * i - 1], keys[2 * i] = K .. 'video:' .. id, K .. 'deleted:' .. id, K .. 'job:' .. job
        replies[i] = {'OK', 0}
    end
    if rebuilding() or call('EXISTS', unpack(keys)) > 0 then
        return nil
    end
    local from = call('EXISTS', unpack(hashes)) > 0 and 'uploading' or nil
    created_ms = from and uploading(ids) or not from and created_ms
    if not created_ms then
        return nil
    end
    unreserve(unpack(ids))
    for i = 1, CALLS do
        local at = before(i)
        write(ids[i], jobs[i], i < CALLS, ARGV[at + 2], created_ms[i], ARGV[at + 4], ARGV[at + 5])
    end
    jobs_queue(jobs, list)
    videos_move(ids, created_ms, from, 'waiting')
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
    write(id, v.job, false, generation, v.created_ms, size_bytes, record)
    jobs_queue({v.job}, list)
    videos_move({id}, {v.created_ms}, v.state, 'waiting')
    return {'OK', 0}
end

return each(together, alone)
