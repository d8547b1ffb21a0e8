-- ARGV: holder
if call('GET', key('reconciler')) == ARGV[1] then
    call('DEL', key('reconciler'))
end
return {'OK'}
