-- What the model in tenant/lease/store.rs does, step by step; a test holds the one to the other.
-- KEYS: rates, month. ARGV: two times (rate or 0, burst, back, debt, want, least), then
-- (limit or -1, base, used, told, close, want, least, node and count). Answers granted and room, twice, then granted and left.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local said = {0, 0, 0, 0, 0, 0}
local latest = now
for which = 0, 1 do
  local at = which * 6
  local rate = tonumber(ARGV[at + 1])
  if rate > 0 then
    local burst, back, debt = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    local want, least = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
    local each = 1000000 / rate
    local paid = tonumber(redis.call('HGET', KEYS[1], which) or '0')
    -- Time that has passed unused is not saved up.
    local from = math.max(math.max(paid - back * each, math.min(paid, now)), now) + debt * each
    local room = math.max(0, math.floor((now + burst * each - from) / each + 0.000001))
    local granted = math.min(room, want)
    if granted < least then granted = 0 end
    paid = from + granted * each
    redis.call('HSET', KEYS[1], which, string.format('%.3f', paid))
    latest = math.max(latest, paid)
    said[which * 2 + 1], said[which * 2 + 2] = granted, room - granted
  end
end
if latest > now then
  redis.call('PEXPIRE', KEYS[1], math.ceil((latest - now) / 1000) + 1000)
end
local limit = tonumber(ARGV[13])
if limit >= 0 then
  local base, used, told = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
  local want, least, count = tonumber(ARGV[18]), tonumber(ARGV[19]), ARGV[20]
  local sum, before = redis.call('HGET', KEYS[2], 'sum'), redis.call('HGET', KEYS[2], count)
  if not sum then
    sum = math.max(base, used)
  elseif before then
    sum = math.max(0, tonumber(sum) + used - tonumber(before))
  else
    sum = math.max(0, tonumber(sum) + used - told)
  end
  local left = math.max(0, limit - sum)
  local granted = math.min(left, want)
  if granted < least then granted = 0 end
  redis.call('HSET', KEYS[2], 'sum', string.format('%.0f', sum + granted))
  if ARGV[17] == '1' then
    redis.call('HDEL', KEYS[2], count)
  else
    redis.call('HSET', KEYS[2], count, string.format('%.0f', used + granted))
  end
  -- Two months and some days: it is looked at in its own alone.
  redis.call('EXPIRE', KEYS[2], 6048000)
  said[5], said[6] = granted, left - granted
end
return said
