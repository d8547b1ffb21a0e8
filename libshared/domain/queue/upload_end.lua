-- ARGV: video, client
-- Neither a tombstone nor a missing epoch stands in the way: it can only take something out.
upload_uncount(ARGV[1], ARGV[2])
return {'OK'}
