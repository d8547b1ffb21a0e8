-- ARGV, of each call: video, generation, token, state, outcome, error; with worker, nonce, lease_ms, attempts, stalls,
-- class… behind, the next job is claimed too

-- What was published before stays playable when this was not.
local function fields(state, outcome, error_text)
    return state == 'completed' and {'outcome', outcome} or {'error', error_text}
end

-- Begins to claim for these nonces, and returns what does the rest. A Redis that is full lets a script go on that has
-- begun to write, so this comes before the ack; that nothing can be claimed does not keep a job from ending.
local function prepare(nonces, worker, lease, max_attempts, max_stalls, ...)
    local lists, waiting = lists_of(...)
    local ready, fence = true, nil
    if waiting > 0 then
        ready, fence = pcall(fences_take, #nonces)
    end
    return function()
        if waiting == 0 or not ready then
            return {}
        end
        return hand_out(lists, fence, nonces, worker, lease, tonumber(max_attempts), tonumber(max_stalls))
    end, ready
end

-- Jobs that end in the same state, and whose claims bear their tokens out.
local function together(calls)
    local nonces, tombstones, videos, seen, first = {}, {}, {}, {}, calls[1]
    for i, c in ipairs(calls) do
        nonces[i] = string.match(c[3], ':(.*)$')
        tombstones[i] = K .. 'deleted:' .. c[1]
    end
    if rebuilding() or call('EXISTS', unpack(tombstones)) > 0 then
        return nil
    end
    for i, held in ipairs(call('HMGET', K .. 'claims', unpack(nonces))) do
        local c = calls[i]
        local job, fence, attempts, created_ms = string.match(held or '', '^(%S+) (%d+) (%d+) (%d+)$')
        if job ~= c[1] .. '.' .. c[2] or fence .. ':' .. nonces[i] ~= c[3] or c[4] ~= first[4] or seen[job] then
            return nil
        end
        seen[job] = true
        videos[i] = {id = c[1], job = job, state = 'active', created_ms = created_ms, attempts = attempts, token = c[3],
            fields = fields(c[4], c[5], c[6])}
    end
    local claim = nil
    if first[7] then
        local free = nonces_of(calls, 7)
        if not free then
            return nil
        end
        claim = prepare(free, first[7], unpack(first, 9))
    end

    local jobs = jobs_take_off(videos)
    call('ZREM', K .. 'open', unpack(jobs))
    for _, job in ipairs(jobs) do
        call('EXPIRE', K .. 'job:' .. job, RETENTION_S)
    end
    videos_set(videos, first[4])
    local replies = claim and claim() or {}
    for i = #replies + 1, #calls do
        replies[i] = {'OK'}
    end
    return replies
end

local full = false

local function alone(id, generation, token, state, outcome, error_text, worker, nonce, lease, ...)
    local v, refused = job_held(id, generation, token)
    if not v then
        return refused
    elseif v.state == 'waiting' or v.state == 'delayed' then
        return {'STALE'}
    end
    local again, claim, ready = nonce and claim_again(nonce, lease), nil, nil
    if nonce and not again and not full then
        claim, ready = prepare({nonce}, worker, lease, ...)
        full = not ready
    end
    if v.state == 'active' then -- else it is done already: the reply was lost
        job_finish(v, state, unpack(fields(state, outcome, error_text)))
    end
    return again or claim and claim()[1] or {'OK'}
end

return each(together, alone)
