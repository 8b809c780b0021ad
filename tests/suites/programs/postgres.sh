# PostgreSQL: initdb, pgbench with several clients, its invariants, a crash and recovery. It refuses to be root's: then as nobody.
# packages: postgresql postgresql-contrib
# limit: 120
source "${0%/*}/checks.bash"
bin=$(echo /usr/lib/postgresql/*/bin); data=$PWD/data; port=$(free_port)
as=()
if ((EUID == 0)); then
    # Below a directory that only root may enter nothing of nobody's can be.
    data=$(mktemp -d /tmp/mosix-suites-postgres.XXXXXX); chown 65534:65534 "$data"; trap 'rm -rf "$data"' EXIT
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all); cd "$data"; data=$data/data
fi
run() { "${as[@]}" "$@"; }
holds "initdb" run "$bin/initdb" -D "$data" -U test -N --no-locale -E UTF8
server() {
    run "$bin/postgres" -D "$data" -p $port -k "$PWD" -c listen_addresses= -c fsync=off -c shared_buffers=16MB > server.log 2>&1 & server=$!
    until_holds "$bin/pg_isready" -h "$PWD" -p $port || { fail "it starts" "$(tail -n 3 server.log)"; exit 1; }
}
sql() { psql -h "$PWD" -p $port -U test -AtqX postgres -c "$1" 2>&1; }
bench() { "$bin/pgbench" -h "$PWD" -p $port -U test "$@" postgres; }
: > server.log; ((EUID != 0)) || chown 65534:65534 server.log
server
holds "pgbench -i" bench -i -s 1 -q
bench -n -c 4 -j 2 -t 50 > bench.txt 2>&1; same "transactions" "200/200" "$(sed -n 's/.*actually processed: //p' bench.txt)"
same "they are in the history" 200 "$(sql 'select count(*) from pgbench_history')"
same "the sums agree" t "$(sql 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history) and (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)')"
bench -n -S -c 4 -t 100 > bench2.txt 2>&1; same "selects" "400/400" "$(sed -n 's/.*actually processed: //p' bench2.txt)"
same "a sort" 5000050000 "$(sql 'select sum(x) from (select x from generate_series(1, 100000) x order by md5(x::text)) s')"
same "a parallel query" 100000 "$(sql 'set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0; select count(*) from pgbench_accounts')"
same "an error" "ERROR:  division by zero" "$(sql 'select 1/0')"
same "statement_timeout" "ERROR:  canceling statement due to statement timeout" "$(sql 'set statement_timeout = 200; select pg_sleep(20)')"
(sql "listen news; select pg_sleep(2)" > /dev/null) & sql "notify news" > /dev/null; wait $!; ok "notify"
kill -9 $(head -n 1 "$data/postmaster.pid"); wait $server 2>/dev/null
until_holds bash -c "! pgrep -f '[p]ostgres.* -p $port'"; rm -f .s.PGSQL.*
server; same "after a crash" 200 "$(sql 'select count(*) from pgbench_history')"
kill -INT $(head -n 1 "$data/postmaster.pid"); wait $server; same "it ends" 0 $?
cd /; exit 0
