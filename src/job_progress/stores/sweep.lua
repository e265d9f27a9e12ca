-- Takes members whose states have expired out of indexes.
-- KEYS: the indexes, then the members' states. ARGV: how many indexes there are, then the members.
local indexes = tonumber(ARGV[1])
for number = 2, #ARGV do
  if redis.call('EXISTS', KEYS[indexes + number - 1]) == 0 then
    for index = 1, indexes do
      redis.call('ZREM', KEYS[index], ARGV[number])
    end
  end
end
