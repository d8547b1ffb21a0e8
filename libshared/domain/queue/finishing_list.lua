-- ARGV: min_age_ms
return {'OK', call('ZRANGE', key('finishing'), '-inf', now_ms - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, 1000)}
