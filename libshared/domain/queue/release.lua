-- ARGV: video, generation, token
local job, refused = job_held(ARGV[1], ARGV[2], ARGV[3])
if not job then
    return refused
end
if job.video.state ~= 'active' then -- handed back already: the reply was lost
    return {'OK'}
end

if job.cancel then
    job_finish(job, 'cancelled')
    return {'OK'}
end
job.attempts = job.attempts - job.charged
job_to_head(job, 'attempts', job.attempts, 'charged', 0, 'releases', job.releases + 1)
return {'OK'}
