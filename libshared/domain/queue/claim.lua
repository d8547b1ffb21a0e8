-- ARGV, of each call: worker, nonce, lease_ms, attempts, stalls, class…
local function claim(nonces, worker, lease, max_attempts, max_stalls, ...)
    local lists, waiting = lists_of(...)
    local replies = {}
    if waiting > 0 then
        local fence = fences_take(#nonces)
        replies = hand_out(lists, fence, nonces, worker, lease, tonumber(max_attempts), tonumber(max_stalls))
    end
    for i = #replies + 1, #nonces do
        replies[i] = {'NONE'}
    end
    return replies
end

local function together(calls)
    local nonces = not rebuilding() and nonces_of(calls, 1)
    return nonces and claim(nonces, calls[1][1], unpack(calls[1], 3))
end

local function alone(worker, nonce, lease, ...)
    if rebuilding() then
        return {'BUSY'}
    end
    return claim_again(nonce, lease) or claim({nonce}, worker, lease, ...)[1]
end

return each(together, alone)
