-- ARGV, of all calls: state, and, when each is to bring the next job, worker, lease_ms, attempts, stalls, class…; of
-- each: video, generation, token, outcome, error, and then the nonce of that claim
--
-- A Redis that is full lets a script go on that has begun to write, so the claim begins before the ack; that nothing
-- can be claimed keeps no job from ending.
local state, FROM = ARGV[3], 4

-- What was published before stays playable when this was not.
local function published(outcome, error_text)
    if state == 'completed' then
        return 'outcome', outcome
    end
    return 'error', error_text
end

-- Jobs whose claims bear their tokens out.
local function together()
    local ids, jobs, nonces, tombstones, attempts, created_ms, seen = {}, {}, {}, {}, {}, {}, {}
    local at = before(1)
    for i = 1, CALLS do
        local id = ARGV[at + 1]
        ids[i], jobs[i], nonces[i] = id, id .. '.' .. ARGV[at + 2], nonce_of(ARGV[at + 3])
        tombstones[i] = K .. 'deleted:' .. id
        at = at + WORDS
    end
    if rebuilding() or call('EXISTS', unpack(tombstones)) > 0 then
        return nil
    end
    local claims = call('HMGET', K .. 'claims', unpack(nonces))
    for i = 1, CALLS do
        local held, job, token = claims[i] or '', jobs[i], ARGV[before(i) + 3]
        local claimed = job .. ' ' .. token .. ' '
        if string.sub(held, 1, #claimed) ~= claimed or seen[job] then
            return nil
        end
        attempts[i], created_ms[i] = string.match(held, '^(%d+) (%d+) ', #claimed + 1)
        seen[job] = true
    end
    local hand_out = nil
    if SHARED > 1 then
        local free = new_nonces(6)
        if not free then
            return nil
        end
        local ready, later = pcall(claim, free, FROM)
        hand_out = ready and later
    end

    jobs_take_off(jobs, nonces)
    jobs_close(jobs)
    for i = 1, CALLS do
        video_write(ids[i], state, published(ARGV[before(i) + 4], ARGV[before(i) + 5]))
    end
    videos_move('active', state, ids, created_ms, jobs, attempts)
    local replies = hand_out and hand_out() or {}
    for i = #replies + 1, CALLS do
        replies[i] = {'OK'}
    end
    return replies
end

local full = false -- nothing can be claimed

local function alone(id, generation, token, outcome, error_text, nonce)
    local v, refused = job_held(id, generation, token)
    if not v then
        return refused
    elseif v.state == 'waiting' or v.state == 'delayed' then
        return {'STALE'}
    end
    local again, hand_out = nonce and claim_again(nonce, ARGV[FROM + 1]), nil
    if nonce and not again and not full then
        local ready, later = pcall(claim, {nonce}, FROM)
        hand_out, full = ready and later, not ready
    end
    if v.state == 'active' then -- else it is done already: the reply was lost
        job_finish(v, state, published(outcome, error_text))
    end
    return again or hand_out and hand_out()[1] or {'OK'}
end

return each(together, alone)
