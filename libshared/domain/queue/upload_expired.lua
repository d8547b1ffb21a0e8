-- ARGV: limit
return {'OK', call('ZRANGE', K .. 'uploads', '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])}
