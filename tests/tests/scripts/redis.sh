set -eu
redis-server --port 0 --unixsocket "$PWD/redis.sock" --save '' --dir "$PWD" --daemonize no >server.log 2>&1 &
server=$!
cli() { redis-cli -s redis.sock "$@"; }
# Ready when it says so in its log, and it says so once it accepts.
tail -n +1 -F --pid=$server server.log 2>/dev/null | grep -q -m1 'Ready to accept\|ready to accept\|now ready'
cli ping
redis-benchmark -s redis.sock -q -n 4000 -c 10 -t set,get,incr,lpush 2>&1 | tr '\r' '\n' | grep -c 'requests per second'
cli set k v; cli get k; cli incr n; cli rpush l a b c; cli lrange l 0 -1; cli dbsize >/dev/null
for i in $(seq 200); do echo "set key:$i $i"; done | cli >/dev/null; cli get key:123
cli eval 'return redis.call("incrby", KEYS[1], 41)' 1 n
cli bgsave >/dev/null
while [ "$(cli info persistence | grep -c 'rdb_bgsave_in_progress:1')" = 1 ]; do :; done
cli info persistence | grep rdb_last_bgsave_status
cli shutdown nosave || true
wait $server; echo "server $?"
rm -f server.log dump.rdb redis.sock
echo redis done
