-- ARGV: video, client, expires_ms (0: never), per_client, in_all
local video, client, expires, per_client, in_all = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local refused = refusal(video)
if refused then
    return refused
end
local function full(index, limit)
    return call('ZCOUNT', index, '(' .. now, '+inf') >= limit
end
if not call('ZSCORE', K .. 'uploads', video) then -- else the reply was lost
    if full(K .. 'uploads:' .. client, per_client) then
        return {'OK', 'CLIENT'}
    elseif full(K .. 'uploads', in_all) then
        return {'OK', 'TOTAL'}
    end
end

upload_count(video, client, expires)
return {'OK', 'OPENED'}
