-- Compare-and-swap for a batch of states that live in one slot; each change stands for itself.
--
-- KEYS  the states' keys, and in a cluster those of all indexes that may change
-- ARGV  what those keys begin with, what the indexes' keys begin with, the command that publishes;
--       as MessagePack, for each key, the version expected (0: nothing may be there), the new version,
--       the lifetime in milliseconds (0: forget it) and the label (created,"status","job");
--       and then for each key the value
--
-- A state is the JSON [version,written,created,"status","job",value], where written is this server's time
-- in milliseconds. It is a member, scored by -created, of the index of its status and of that of its status
-- and job. Returns this server's time and, for each change that was not made, its number and what stands
-- there instead, if anything; then, in a cluster, for each index members that seem dead.
--
-- While a cluster moves a slot, keys that were not declared may be on the other node: there they seem to be
-- missing, or the call fails. What is listed before it is set is never a state that no index has.

local base, indexes, publish, changes = ARGV[1], ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[4])
local HOUR, RELIST = 3600000, 10000
local in_cluster, suspects = publish == 'SPUBLISH', {}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function indexes_of(label)
  local created, status, job = string.match(label, '^(-?%d+),"(.-)","(.-)"$')
  return { indexes .. status, indexes .. status .. ':' .. job }, string.format('%.0f', -created)
end

-- A state that expires leaves its members behind. As in the server's own expiry, a few are drawn at random
-- whenever one comes in, and looked at, so that only a small part of an index is ever dead.
local function sweep(index, own)
  for _, member in ipairs(redis.call('ZRANDMEMBER', index, 3)) do
    if member ~= own and redis.pcall('EXISTS', base .. member) == 0 then -- its own is set right after
      if in_cluster then
        table.insert(suspects, { index, member })
      else
        redis.call('ZREM', index, member)
      end
    end
  end
end

local function list(key, label, lifetime)
  local member = string.sub(key, #base + 1)
  local names, score = indexes_of(label)
  for _, index in ipairs(names) do
    redis.call('ZADD', index, score, member)
    -- With the last of its states an index goes, too. Those that live on list themselves anew now and then.
    if redis.call('PTTL', index) < lifetime + HOUR then
      redis.call('PEXPIRE', index, string.format('%.0f', lifetime + 2 * HOUR))
    end
    sweep(index, member)
  end
end

-- Take it out of the indexes of its old label, but for those where its new one, if it has one, has listed it.
local function unlist(key, old, new)
  local listed = {}
  for _, index in ipairs(new and (indexes_of(new)) or {}) do
    listed[index] = true
  end
  for _, index in ipairs((indexes_of(old))) do
    if not listed[index] then
      redis.pcall('ZREM', index, string.sub(key, #base + 1))
    end
  end
end

local function swap(key, value, expected, version, lifetime, label)
  local current = redis.call('GET', key)
  local held, written, old = 0, 0, nil
  if current then
    held, written, old = string.match(current, '^%[(%d+),(%d+),(-?%d+,".-",".-"),')
  end
  if tonumber(held) ~= expected then
    return false, current -- which is false, if nothing is there
  end
  if lifetime ~= 0 and (old ~= label or math.floor(now / RELIST) ~= math.floor(written / RELIST)) then
    list(key, label, lifetime) -- also what was evicted
  end
  if lifetime == 0 then
    redis.call('DEL', key)
  else
    local state = string.format('[%.0f,%.0f,', version, now) .. label .. ',' .. value .. ']'
    redis.call('SET', key, state, 'PX', string.format('%.0f', lifetime))
  end
  if old and (old ~= label or lifetime == 0) then
    unlist(key, old, lifetime ~= 0 and label or nil)
  end
  if type(redis.pcall(publish, key, '')) == 'table' then
    redis.call('PUBLISH', key, '') -- a cluster of before version 7 has no sharded channels
  end
  return true
end

local conflicts = {}
for number, change in ipairs(changes) do
  local made, current = swap(KEYS[number], ARGV[4 + number], unpack(change))
  if not made then
    table.insert(conflicts, { number, current })
  end
end
return { string.format('%.0f', now), conflicts, suspects }
