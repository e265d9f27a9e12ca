-- What the server's clock shows, in milliseconds. KEYS: any that this server has.
local time = redis.call('TIME')
return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
