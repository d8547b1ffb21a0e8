-- ARGV: holder
if call('GET', K .. 'reconciler') == ARGV[1] then
    call('DEL', K .. 'reconciler')
end
return {'OK'}
