-- ARGV: state or "", score and id of the cursor or "", limit
local state, from, from_id, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local index = K .. (state == '' and 'videos' or 'videos:' .. state)
local BATCH = 100

local function before_cursor(id, score)
    return from ~= '' and tonumber(score) == tonumber(from) and id >= from_id
end

local rows, more, offset = {}, 0, 0
repeat
    local found = call('ZRANGE', index, from == '' and '+inf' or from, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, BATCH,
        'WITHSCORES')
    for i = 1, #found, 2 do
        local view = not before_cursor(found[i], found[i + 1]) and video_view(found[i])
        if view and #rows == limit then
            more = 1
            break
        elseif view then
            rows[#rows + 1] = view
        end
    end
    offset = offset + BATCH
until more == 1 or #found < 2 * BATCH
return {'OK', rebuilding() and 1 or 0, more, rows}
