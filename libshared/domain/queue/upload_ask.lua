-- ARGV: process, note, most notes, ttl_ms
-- Nobody may be there to read it: the list is bounded, and goes.
local desk = K .. 'desk:' .. ARGV[1]

call('LPUSH', desk, ARGV[2])
call('LTRIM', desk, 0, ARGV[3] - 1)
call('PEXPIRE', desk, ARGV[4])
return {'OK'}
