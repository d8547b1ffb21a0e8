-- ARGV, of each call: video, generation, class, priority, created_ms, size_bytes, record

local function fields(generation, created_ms, size_bytes, record)
    return {'generation', generation, 'created_ms', created_ms, 'size_bytes', size_bytes, 'record', record}
end

-- Videos that nobody has heard of yet, for the same list.
local function together(calls)
    local keys, ids, videos, seen, class, priority = {}, {}, {}, {}, calls[1][3], calls[1][4]
    for i, c in ipairs(calls) do
        local v = video_new(c[1], c[2], nil, c[5])
        if seen[v.id] or c[3] ~= class or c[4] ~= priority then
            return nil
        end
        v.fields = fields(c[2], c[5], c[6], c[7])
        videos[i], ids[i], seen[v.id] = v, v.id, true
        keys[3 * i - 2] = K .. 'deleted:' .. v.id
        keys[3 * i - 1] = K .. 'video:' .. v.id
        keys[3 * i] = K .. 'job:' .. v.job
    end
    if rebuilding() or call('EXISTS', unpack(keys)) > 0 then
        return nil
    end
    local replies = {}
    for i = 1, #calls do replies[i] = {'OK', 0} end
    unreserve(unpack(ids))
    jobs_create(videos, class, priority)
    return replies
end

local function alone(id, generation, class, priority, created_ms, size_bytes, record)
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
    v.fields = fields(generation, v.created_ms, size_bytes, record)
    jobs_create({v}, class, priority)
    return {'OK', 0}
end

return each(together, alone)
