-- ARGV: holder, ttl_ms, "renew" or ""
local holder, ttl, renew = ARGV[1], ARGV[2], ARGV[3] == 'renew'

local current = call('GET', K .. 'reconciler')
if current and current ~= holder or renew and not current then
    return {'CONFLICT'}
end
call('SET', K .. 'reconciler', holder, 'PX', ttl)
return {'OK'}
