-- KEYS: of states, in one slot. Returns this server's time in milliseconds, and what it holds for each key.
local time = redis.call('TIME')
return { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), redis.call('MGET', unpack(KEYS)) }
