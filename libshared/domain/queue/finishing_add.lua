-- ARGV: video
local refused = refusal(ARGV[1])
if refused then
    return refused
end
call('ZADD', K .. 'finishing', 'NX', now, ARGV[1]) -- the age of the first mark counts
return {'OK'}
