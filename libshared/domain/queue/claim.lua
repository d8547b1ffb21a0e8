-- ARGV, of all calls: worker, lease_ms, attempts, stalls, class…; of each: nonce
local FROM = 3

local function answers(nonces, hand_out)
    local replies = hand_out()
    for i = #replies + 1, #nonces do
        replies[i] = {'NONE'}
    end
    return replies
end

local function together()
    local nonces = not rebuilding() and new_nonces(1)
    if nonces then
        local ready, hand_out = pcall(claim, nonces, FROM)
        return ready and answers(nonces, hand_out)
    end
end

local function alone(nonce)
    if rebuilding() then
        return {'BUSY'}
    end
    return claim_again(nonce, ARGV[FROM + 1]) or answers({nonce}, claim({nonce}, FROM))[1]
end

return each(together, alone)
