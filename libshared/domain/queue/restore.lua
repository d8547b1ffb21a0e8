-- ARGV: video, generation, state, created_ms, size_bytes, record, outcome or "", error
-- The rebuild's: works without the epoch key. A live job, and whatever is newer, knows better than the store did.
local video, generation, state = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local created_ms, size_bytes, record, outcome, error_text = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]

if tombstoned(video) then
    return {'GONE'}
end
local v = video_load(video)
if v and (v.generation > generation or v.generation == generation and (OPEN[v.state] or OPEN[state])) then
    return {'OK'}
end
if v and v.generation == generation and v.state == state then
    return {'OK'}
end

if v then
    job_remove(v)
else
    v = {id = video, created_ms = created_ms}
end
v.generation = generation
if state == 'waiting' then
    job_create(v, 'default', 1, 'created_ms', v.created_ms, 'size_bytes', size_bytes, 'record', record,
        'outcome', outcome)
else
    video_set(v, state, 0, 'created_ms', v.created_ms, 'size_bytes', size_bytes, 'record', record, 'outcome', outcome,
        'error', error_text)
end
return {'OK'}
