-- Does a batch of commands once, however often it is sent.
-- KEYS[1]: the number of the sender's last batch. ARGV: the number of this one, then each command's
-- length and words. Gives what went wrong.
local last = redis.call('GET', KEYS[1])
if last and tonumber(last) >= tonumber(ARGV[1]) then return {} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 86400000)
-- A session: its key, what the sender has written before, what it writes now, the lifetime, and
-- whether it is written where nothing is. Where somebody else has taken or written it, it is left.
local function keep(key, before, value, lifetime, anew)
  local there = redis.call('GET', key)
  if before ~= '' and there ~= before and (there or anew == '') then return end
  if value == '' then return redis.call('DEL', key) end
  return redis.call('SET', key, value, 'PX', lifetime)
end
local wrong, at = {}, 2
while ARGV[at] do
  local length = tonumber(ARGV[at])
  local words = {unpack(ARGV, at + 1, at + length)}
  at = at + length + 1
  if words[1] == 'KEEP' then
    keep(words[2], words[3], words[4], words[5], words[6])
  else
    local answer = redis.pcall(unpack(words))
    if type(answer) == 'table' and answer.err then wrong[#wrong + 1] = answer.err end
  end
end
return wrong
