-- ARGV: video, generation, state, created_ms, size_bytes, record, outcome or "", error
-- The rebuild's: works without the epoch key. A live job, and whatever is newer, knows better than the store did.
local id, generation, state = ARGV[1], ARGV[2], ARGV[3]
local created_ms, size_bytes, record, outcome, error_text = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]

if tombstoned(id) then
    return {'GONE'}
end
local v = video_load(id)
if v and v.generation > tonumber(generation) then
    return {'OK'}
end
if v and v.generation == tonumber(generation) and (OPEN[v.state] or OPEN[state] or v.state == state) then
    return {'OK'}
end

if v then
    job_remove(v)
end
v = video_renew(v, id, generation, created_ms)
if state == 'waiting' then
    unreserve(id)
    jobs_queue({v.job}, USUAL_LIST)
    video_set(v, state, 'generation', generation, 'created_ms', v.created_ms, 'size_bytes', size_bytes,
        'record', record, 'outcome', outcome)
else
    video_set(v, state, 'generation', generation, 'created_ms', v.created_ms, 'size_bytes', size_bytes,
        'record', record, 'outcome', outcome, 'error', error_text)
end
return {'OK'}
