-- Makes a session that of another server.
-- KEYS: the session, the stream. ARGV: what the session was, what it is now, its lifetime, and, if
-- the server that has it now is to be told, the rest of an XADD.
-- Gives nothing if it is another by now, else where that server is told, or an empty text.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if not ARGV[4] then return '' end
return redis.call('XADD', KEYS[2], unpack(ARGV, 4))
