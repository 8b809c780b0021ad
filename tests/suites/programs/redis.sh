# redis under its own benchmark, its data checked afterwards; saving in a forked child, and starting again from what it saved.
# packages: redis-server redis-tools
source "${0%/*}/checks.bash"
port=$(free_port)
start() {
    redis-server --port $port --bind 127.0.0.1 --dir "$PWD" --save '' --appendonly "$1" --daemonize no > server.log 2>&1 & server=$!
    until_holds redis-cli -p $port ping || { fail "it starts" "$(tail -n 3 server.log)"; exit 1; }
}
cli() { redis-cli -p $port "$@"; }
start no
redis-benchmark -p $port -q -n 1000 -c 8 -r 500 -t set,get,incr,lpush,rpop,sadd,hset,zadd,mset > bench.txt 2>&1
same "redis-benchmark" 9 "$(tr '\r' '\n' < bench.txt | grep -c 'requests per second')"
cli flushall > sure
redis-benchmark -p $port -q -n 2000 -c 8 incr counter > bench2.txt 2>&1; same "every increment counts" 2000 "$(cli get counter)"
redis-benchmark -p $port -q -n 1000 -P 16 -c 4 rpush list x > bench3.txt 2>&1; same "pipelined pushes" 1000 "$(cli llen list)"
seq 1 1000 | sed 's/.*/set key:& value:&/' | cli --pipe > pipe.txt; same "mass insertion" "value:777" "$(cli get key:777)"
same "a script" 1000 "$(cli eval "local n = 0; for i = 1, 1000 do if redis.call('get', 'key:' .. i) == 'value:' .. i then n = n + 1 end end; return n" 0)"
cli multi > sure; same "a transaction" "QUEUED" "$(printf 'multi\nincr a\nexec\n' | cli | sed -n 2p)"
cli set short 1 px 100 > sure; sleep 0.3; same "a key expires" "" "$(cli get short)"
(cli blpop queue 20 > popped) & sleep 0.2; cli rpush queue job > sure; wait $!; same "a blocking pop" job "$(tail -n 1 popped)"
redis-cli -p $port subscribe channel > heard & sub=$!
until_holds bash -c "[[ \$(redis-cli -p $port publish channel news) == 1 ]]"; until_holds grep -q news heard; kill $sub; wait $sub 2>/dev/null
same "publish" news "$(tail -n 1 heard)"
same "bgsave" "Background saving started" "$(cli bgsave)"
until_holds bash -c "redis-cli -p $port info persistence | grep -q 'rdb_bgsave_in_progress:0'"
same "it was saved" "ok" "$(cli info persistence | tr -d '\r' | sed -n 's/rdb_last_bgsave_status://p')"
digest=$(cli debug digest 2>&1); keys=$(cli dbsize)
cli shutdown nosave; wait $server; same "it ends" 0 $?
start no; same "it is back" "$keys" "$(cli dbsize)"; cli shutdown nosave; wait $server
rm -f dump.rdb; start yes; redis-benchmark -p $port -q -n 500 -c 4 incr counter > bench4.txt 2>&1; cli bgrewriteaof > sure
until_holds bash -c "redis-cli -p $port info persistence | grep -q 'aof_rewrite_in_progress:0'"
kill -9 $server; wait $server 2>/dev/null; start yes; same "the log survives a kill" 500 "$(cli get counter)"; cli shutdown nosave; wait $server
exit 0
