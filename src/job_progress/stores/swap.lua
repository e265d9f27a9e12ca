-- Compare-and-swap for a batch of states that live in one slot; each change stands for itself.
--
-- KEYS: the states' keys.
-- ARGV: the prefix of the indexes, the command that publishes, and then for each key
--       expected version ('0': nothing may be there), new version, lifetime in milliseconds,
--       label (created,"status","job"), value.
--
-- A state is [version,written,created,"status","job",value], as JSON, where written is this server's
-- time in milliseconds. Each state is a member, scored by -created, of the index of its status and of
-- the index of its status and job. Returns, for each key, what stands there instead, or false.

local indexes, publish = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function indexes_of(label)
  local created, status, job = string.match(label, '^(-?%d+),"(.-)","(.*)"$')
  return created, { indexes .. status, indexes .. status .. ':' .. job }
end

-- Expired states leave their members behind. As in the server's own expiry, a few are drawn at random
-- and looked at whenever members come in, so that never more than a small part of them is dead.
local function sweep(index)
  for _, key in ipairs(redis.call('ZRANDMEMBER', index, 3)) do
    if redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', index, key)
    end
  end
end

local answers = {}
for number, key in ipairs(KEYS) do
  local first = 3 + (number - 1) * 5
  local expected, version, lifetime, label, value = unpack(ARGV, first, first + 4)
  local current = redis.call('GET', key)
  local held = current and string.match(current, '^%[(%d+),') or '0'
  if held ~= expected then
    answers[number] = current
  else
    answers[number] = false
    local old = current and string.match(current, '^%[%d+,%d+,(-?%d+,".-",".-"),')
    if lifetime == '0' then
      redis.call('DEL', key)
      label = nil
    else
      redis.call('SET', key, '[' .. version .. ',' .. now .. ',' .. label .. ',' .. value .. ']', 'PX', lifetime)
    end
    if old and old ~= label then
      for _, index in ipairs(select(2, indexes_of(old))) do
        redis.call('ZREM', index, key)
      end
    end
    if label and old ~= label then
      local created, now_in = indexes_of(label)
      for _, index in ipairs(now_in) do
        redis.call('ZADD', index, '-' .. created, key)
        -- An index outlives the last of its states a little, and no longer.
        if redis.call('PTTL', index) < tonumber(lifetime) then
          redis.call('PEXPIRE', index, lifetime)
        end
        sweep(index)
      end
    end
    redis.call(publish, key, version)
  end
end
return answers
