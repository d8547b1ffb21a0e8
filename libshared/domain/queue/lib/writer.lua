-- What the scripts about uploads share (upload_*.lua). This file comes after weir.lua, whose parts it uses.

local DAY_MS = 86400000
local WRITER_KEPT_MS = 600000 -- the hash of a lease that ran out: whoever had it may go on if nobody else came

-- Who writes to an upload, or did last. A lease that ends too far away is from before the clock was set back.
local function writer_load(id, lease)
    local f = call('HMGET', K .. 'writer:' .. id, 'nonce', 'fence', 'process', 'until')
    if f[1] then
        local left = tonumber(f[4]) - now_ms
        return {nonce = f[1], fence = f[2], process = f[3], live = left > 0 and left <= tonumber(lease)}
    end
end

local function writer_extend(id, lease)
    call('HSET', K .. 'writer:' .. id, 'until', from_now(lease))
    call('PEXPIRE', K .. 'writer:' .. id, string.format('%d', lease + WRITER_KEPT_MS))
end

-- The cached state as it was put, if that was under this epoch.
local function upload_cached(id, epoch)
    local f = call('HMGET', K .. 'upload:' .. id, 'epoch', 'state', 'seq')
    if f[1] == epoch then
        return f[2], f[3]
    end
end

local function upload_expiry(expires_ms)
    return expires_ms == '0' and from_now(DAY_MS) or expires_ms
end

-- Keeps the upload's hash for a day longer than the upload.
local function upload_keep(id, expires_ms)
    local last = math.max(tonumber(upload_expiry(expires_ms)), now_ms) + DAY_MS
    call('PEXPIREAT', K .. 'upload:' .. id, string.format('%d', last))
end

-- Into the indexes of open uploads: that of its client lasts as long as the last of them.
local function upload_count(id, client, expires_ms)
    local expiry, mine = upload_expiry(expires_ms), K .. 'uploads:' .. client
    call('ZADD', K .. 'uploads', expiry, id)
    call('ZADD', mine, expiry, id)
    call('ZREMRANGEBYSCORE', mine, '-inf', now)
    call('PEXPIREAT', mine, string.format('%d', (call('ZRANGE', mine, -1, -1, 'WITHSCORES')[2] or now) + 1))
    call('HSET', K .. 'upload:' .. id, 'client', client)
    upload_keep(id, expires_ms)
end

local function upload_uncount(id, client)
    call('ZREM', K .. 'uploads', id)
    if client then
        call('ZREM', K .. 'uploads:' .. client, id)
    end
end

-- Every key of an upload.
local function upload_forget(id)
    upload_uncount(id, call('HGET', K .. 'upload:' .. id, 'client'))
    call('DEL', K .. 'upload:' .. id, K .. 'writer:' .. id)
end
