-- Sets the stock of a bucket, which nothing else does.
-- KEYS  1 stock, 2 users, 3 token of the latest load.
-- ARGV  1 token, 2 units left by the ledger, 3 whether what is loaded is replaced, 4 life of keys in ms.
-- Reply 1 loaded, 2 loaded already, 0 another load has begun, or everything was lost meanwhile.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
if ARGV[3] == '0' and redis.call('EXISTS', KEYS[1]) == 1 then return 2 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
-- Both keys exist while either does: a script on two keys, one of which does not exist, cannot run
-- while their slot moves to another node.
redis.call('HSETNX', KEYS[2], '', '')
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
