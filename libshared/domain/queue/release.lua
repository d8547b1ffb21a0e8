-- ARGV: video, generation, token
local v, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not v then
    return refused
elseif v.state ~= 'active' then -- handed back already: the reply was lost
    return {'OK'}
end

job_load(v)
if v.cancel then
    job_finish(v, 'cancelled')
    return {'OK'}
end
v.attempts = v.attempts - v.charged
job_to_head(v, 'attempts', v.attempts)
call('HINCRBY', K .. 'video:' .. v.id, 'releases', 1)
return {'OK'}
