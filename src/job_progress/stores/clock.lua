-- What the server's clock shows, in milliseconds, and its role, if it may be asked. KEYS: any that this server has.
local time = redis.call('TIME')
local about = redis.pcall('INFO', 'replication') -- a table, if this user may not ask
local role = type(about) == 'string' and string.match(about, 'role:(%a+)') or ''
return { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), role }
