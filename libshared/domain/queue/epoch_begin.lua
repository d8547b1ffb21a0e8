-- ARGV: holder, epoch
-- Whoever rebuilt holds the reconciler's lease still, under the name of that pass: else this Redis was emptied meanwhile
-- and lacks what was restored before.
local holder, epoch = ARGV[1], ARGV[2]

if call('GET', K .. 'reconciler') ~= holder then
    return {'CONFLICT'}
end
call('SET', K .. 'epoch', epoch, 'NX')
return {'OK'}
