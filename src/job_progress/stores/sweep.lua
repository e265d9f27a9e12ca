-- Takes members whose states have expired out of an index.
-- KEYS: the index. ARGV: what the states' keys begin with, then members.
for number = 2, #ARGV do
  if redis.call('EXISTS', ARGV[1] .. ARGV[number]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[number])
  end
end
