-- ARGV: min_age_ms
return {'OK', call('ZRANGE', K .. 'finishing', '-inf', from_now(-ARGV[1]), 'BYSCORE', 'LIMIT', 0, 1000)}
