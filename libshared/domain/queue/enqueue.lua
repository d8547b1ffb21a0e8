-- ARGV, of all calls: list (class:priority); of each: video, generation, created_ms, size_bytes, record
local list = ARGV[3]

-- What is asked for most often stands at the beginning of the hash, the long record at the end.
local function write(v, more, generation, created_ms, size_bytes, record)
    video_write(v, 'waiting', more, 'generation', generation, 'created_ms', created_ms, 'list', list, 'size_bytes',
        size_bytes, 'record', record)
end

-- Videos that nobody has heard of yet.
local function together()
    local keys, ids, videos, seen, replies = {}, {}, {}, {}, {}
    for i = 1, CALLS do
        local id, generation, created_ms = unpack(ARGV, before(i) + 1, before(i) + 3)
        local job = id .. '.' .. generation
        if seen[id] then
            return nil
        end
        ids[i], videos[i] = id, {id = id, job = job, created_ms = created_ms, attempts = '0'}
        keys[3 * i - 2], keys[3 * i - 1], keys[3 * i] = K .. 'deleted:' .. id, K .. 'video:' .. id, K .. 'job:' .. job
        seen[id], replies[i] = true, {'OK', 0}
    end
    if rebuilding() or call('EXISTS', unpack(keys)) > 0 then
        return nil
    end
    unreserve(unpack(ids))
    for i = 1, CALLS do
        write(videos[i], i < CALLS, unpack(ARGV, before(i) + 2, before(i) + 5))
    end
    jobs_queue(videos, list)
    videos_move(videos, nil, 'waiting')
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
    local from = v.state
    write(v, false, generation, v.created_ms, size_bytes, record)
    jobs_queue({v}, list)
    videos_move({v}, from, 'waiting')
    return {'OK', 0}
end

return each(together, alone)
