-- Settles earlier claims of one bucket and admits new ones. O(1) per member; a second run of the same
-- call changes nothing and answers the same.
--
-- KEYS  1 stock, 2 users: user -> 32 bytes for each coupon or claim under way:
--       request 8, fingerprint 4, number 4 (claims under way: units set aside), coupon 8 (claims under
--       way: zero), claimed at 8 (claims under way: attempt).
-- ARGV  1 limit per user, 2 life of keys in ms,
--       3 plain wins: (user 8, the first 24 bytes of its claim under way, 32 bytes of the coupon)*,
--       4 claims: (user 8, 32 bytes of the claim under way)*,
--       5 users to look at: (user 8)*,
--       6.. other settlements: user, operation.
--       A user stands at most once in 3 and 6.. together, and at most once in 4.
-- Reply the number of claims when all were admitted and there is nothing else to say; otherwise
--       {a letter per claim, 1 if the ledger gave what this bucket did not have, coupons of the
--       claims answered W, values of 5}.
local stock_key, users = KEYS[1], KEYS[2]
local sub, rep, cut = string.sub, string.rep, struct.unpack
local NONE = rep('\0', 8)

local read = redis.call('GET', stock_key)
local loaded = read ~= false
local stock = tonumber(read) or 0
local before = stock
local disagrees = 0

local function has_coupon(value, coupon)
  for at = 1, #value, 32 do
    if sub(value, at + 16, at + 23) == coupon then return true end
  end
  return false
end

local function has_request(value, request)
  for at = 1, #value, 32 do
    if sub(value, at, at + 7) == request then return true end
  end
  return false
end

-- The value without the claim under way of that request, and the units set aside for it.
local function drop(value, request, attempt)
  for at = 1, #value, 32 do
    if sub(value, at, at + 7) == request and sub(value, at + 16, at + 23) == NONE
      and (not attempt or sub(value, at + 24, at + 31) == attempt) then
      local units = string.byte(value, at + 15)
      return sub(value, 1, at - 1) .. sub(value, at + 32), units
    end
  end
  return value, 0
end

local function hold(value, coupons)
  for at = 1, #coupons, 32 do
    if not has_coupon(value, sub(coupons, at + 16, at + 23)) then
      value = drop(value, sub(coupons, at, at + 7)) .. sub(coupons, at, at + 31)
    end
  end
  return value
end

-- The ledger gave. What is noted already was counted when it was noted.
local function give(value, request, pieces, replayed, holds, coupons)
  local fresh = not has_coupon(value, sub(coupons, 17, 24))
  local units
  value, units = drop(value, request)
  local spent = 0
  if fresh and not replayed then
    spent = pieces
    if loaded and units == 0 and stock < pieces then disagrees = 1 end
  elseif fresh and not holds then
    spent = units
  end
  stock = math.max(stock + units - spent, 0)
  return hold(value, coupons)
end

local function settle(value, op)
  local kind, request = sub(op, 1, 1), sub(op, 2, 9)
  local units
  if kind == 'G' then
    local replayed, holds = sub(op, 10, 10) == '1', sub(op, 11, 11) == '1'
    return give(value, request, tonumber(sub(op, 12, 21)), replayed, holds, sub(op, 22))
  elseif kind == 'H' then
    return hold(value, sub(op, 22))
  elseif kind == 'B' then
    value, units = drop(value, request)
    stock = stock + units
  elseif kind == 'A' then
    value, units = drop(value, request, sub(op, 10, 17))
    stock = stock + units
  elseif kind == 'S' then
    value = drop(value, request)
    stock = 0
  elseif kind == 'U' and not has_request(value, request) then
    value = value .. sub(op, 10, 41)
  end
  return value
end

local wins, others = #ARGV[3] / 64, (#ARGV - 5) / 2
if wins + others > 0 then
  local names, writes, w, gone = {}, {}, 0, {}
  local parts = {cut(rep('c8c24c32', wins), ARGV[3])}
  for i = 1, wins do names[i] = parts[3 * i - 2] end
  for i = 1, others do names[wins + i] = ARGV[4 + 2 * i] end
  local held = redis.call('HMGET', users, unpack(names))
  for i = 1, wins + others do
    local value = held[i] or ''
    local after
    if i > wins then
      after = settle(value, ARGV[5 + 2 * (i - wins)])
    elseif #value == 32 and sub(value, 1, 24) == parts[3 * i - 1] then
      after = parts[3 * i]
    else
      local coupon = parts[3 * i]
      after = give(value, sub(coupon, 1, 8), 1, false, true, coupon)
    end
    if after ~= value then
      if after == '' then
        gone[#gone + 1] = names[i]
      else
        writes[w + 1], writes[w + 2] = names[i], after
        w = w + 2
      end
    end
  end
  if w > 0 then redis.call('HSET', users, unpack(writes, 1, w)) end
  if #gone > 0 then redis.call('HDEL', users, unpack(gone)) end
  if w > 0 and not loaded then redis.call('PEXPIRE', users, ARGV[2]) end
end

local claims = #ARGV[4] / 40
local letters, coupons = nil, {}
if claims > 0 and not loaded then
  letters = rep('N', claims)
elseif claims > 0 then
  local members = {cut(rep('c8c32', claims), ARGV[4])}
  local names = {}
  for i = 1, claims do names[i] = members[2 * i - 1] end
  local held = redis.call('HMGET', users, unpack(names))
  local strangers = stock >= claims
  for i = 1, claims do
    if held[i] then strangers = false break end
  end
  if strangers then
    stock = stock - claims
    redis.call('HSET', users, unpack(members, 1, 2 * claims))
  else
    local limit = tonumber(ARGV[1])
    local writes, w, said = {}, 0, {}
    for i = 1, claims do
      local value, claim = held[i] or '', members[2 * i]
      local count, under_way, letter = 0, false, nil
      for at = 1, #value, 32 do
        local open = sub(value, at + 16, at + 23) == NONE
        if sub(value, at, at + 7) == sub(claim, 1, 8) then
          if open then
            -- Its own: the call is run again.
            local again = sub(value, at + 24, at + 31) == sub(claim, 25, 32)
            letter = again and 'A' or 'P'
          elseif sub(value, at + 8, at + 11) == sub(claim, 9, 12) then
            letter = 'W'
            coupons[#coupons + 1] = sub(value, at, at + 31)
          else
            letter = 'K'
          end
          break
        end
        count = count + 1
        under_way = under_way or open
      end
      if not letter and count >= limit then
        letter = under_way and 'P' or 'L'
      elseif not letter and stock <= 0 then
        letter = 'D'
      elseif not letter then
        letter = 'A'
        stock = stock - 1
        writes[w + 1], writes[w + 2] = members[2 * i - 1], value .. claim
        w = w + 2
      end
      said[i] = letter
    end
    if w > 0 then redis.call('HSET', users, unpack(writes, 1, w)) end
    letters = table.concat(said)
  end
end

if loaded and stock ~= before then redis.call('INCRBY', stock_key, stock - before) end

local looks, seen = #ARGV[5] / 8, {}
if looks > 0 then
  local names = {cut(rep('c8', looks), ARGV[5])}
  seen = redis.call('HMGET', users, unpack(names, 1, looks))
end
if not letters and disagrees == 0 and looks == 0 then return claims end
return {letters or rep('A', claims), disagrees, coupons, seen}
