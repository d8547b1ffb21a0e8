-- ARGV: holder, ttl_ms
local holder, ttl = ARGV[1], ARGV[2]

local current = call('GET', K .. 'reconciler')
if current and current ~= holder then
    return {'CONFLICT'}
end
call('SET', K .. 'reconciler', holder, 'PX', ttl)
return {'OK'}
