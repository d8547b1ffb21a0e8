-- ARGV: video, generation, class, priority, created_ms, size_bytes, record
local id, generation, class, priority = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local created_ms, size_bytes, record = ARGV[5], ARGV[6], ARGV[7]

local refused = refusal(id)
if refused then
    return refused
end
local v = video_load(id)
if v and v.generation > tonumber(generation) then
    return {'STALE'}
end
if v and v.generation == tonumber(generation) then -- whatever became of it; its job's hash may be gone by now
    call('ZREM', K .. 'admitted', id)
    call('ZREM', K .. 'finishing', id)
    return {'OK', 1}
end

if v then
    job_remove(v)
end
v = video_renew(v, id, generation, created_ms)
job_create(v, class, priority, 'generation', generation, 'created_ms', v.created_ms, 'size_bytes', size_bytes,
    'record', record)
return {'OK', 0}
