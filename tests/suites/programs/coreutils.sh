# coreutils: what needs processes, signals, descriptors, times and big data.
# packages: coreutils
source "${0%/*}/checks.bash"

timeout 0.2 sleep 10; same "timeout" 124 $?
timeout -s INT -k 0.2 0.2 bash -c "trap '' INT; sleep 10 & wait; wait"; between "timeout -k" 124 137 $?
timeout --preserve-status -s USR1 0.2 bash -c "trap 'exit 9' USR1; sleep 5 & wait"; same "timeout --preserve-status" 9 $?
timeout --foreground 5 true; same "timeout --foreground" 0 $?
same "env -i" "A=1" "$(env -i A=1 env)"
same "env -S" "x y" "$(env -S 'echo x y')"
same "nice" 7 "$(nice -n 7 nice)"
same "nohup" "ignored" "$(nohup bash -c 'kill -HUP $$; echo ignored' 2>/dev/null)"
same "stdbuf" "x" "$(stdbuf -oL echo x)"
seq 1 200000 > numbers
for sum in md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum; do
    ok "$sum $($sum < numbers | cut -d' ' -f1)"
done
sha256sum numbers > sums; holds "sha256sum -c" sha256sum -c sums
shuf --random-source=numbers numbers > shuffled; ok "shuf $(md5sum < shuffled)"
sort -n -S 1M --parallel=2 shuffled | cmp - numbers && ok "sort with temporary files" || fail "sort with temporary files" differs
sort -n -S 1M --compress-program=gzip shuffled | cmp - numbers && ok "sort with a compressor" || fail "sort with a compressor" differs
split -n l/7 numbers part.; cat part.* | cmp - numbers && ok "split and cat" || fail "split and cat" differs
split -l 50000 --filter='gzip > $FILE.gz' numbers z.; cat z.*.gz | zcat | cmp - numbers && ok "split --filter" || fail "split --filter" differs
csplit -s -f c. numbers 100 50000; same "csplit" "99 49900 150001" "$(for f in c.0?; do wc -l < $f; done | xargs)"
dd if=numbers of=copy bs=777 status=none; cmp numbers copy && ok "dd" || fail "dd" differs
dd if=/dev/zero of=sparse bs=1 count=1 seek=100M status=none
same "truncate and du" "104857601" "$(stat -c %s sparse)"; cp --sparse=always sparse sparse2; between "cp --sparse" 0 64 "$(du -k sparse2 | cut -f1)"
dd if=/dev/zero of=/dev/null bs=64K 2> progress & pid=$!
until_holds test -e /proc/$pid; sleep 0.3; kill -USR1 $pid; until_holds grep -q copied progress && ok "dd tells on SIGUSR1" || fail "dd tells on SIGUSR1" "$(cat progress)"; kill $pid; wait $pid 2>/dev/null
cat numbers | tee a b c >/dev/null; cmp a c && ok "tee" || fail "tee" differs
: > log; tail -n +1 -f log > seen & pid=$!; for i in 1 2 3; do echo $i >> log; sleep 0.05; done
until_holds grep -q 3 seen && ok "tail -f" || fail "tail -f" "$(cat seen)"; kill $pid; wait $pid 2>/dev/null
sleep 0.5 & tail --pid=$! -f log > /dev/null && ok "tail --pid" || fail "tail --pid" $?
holds "mktemp -d" rmdir "$(mktemp -d)"
mkdir -p tree/{a,b}/{c,d}; for f in tree/*/*; do echo $f > $f/f; ln -s f $f/l; done; mkfifo tree/p; chmod 640 tree/a/c/f
cp -a tree tree2; same "cp -a" "$(cd tree; ls -lR | md5sum)" "$(cd tree2; ls -lR | md5sum)"
mv tree2 tree3; holds "rm -r" rm -r tree3
ln numbers hard; same "ln" 2 "$(stat -c %h numbers)"; readlink -f tree/a/c/l | grep -q 'tree/a/c/f$' && ok "readlink -f" || fail "readlink -f" "$(readlink -f tree/a/c/l)"
install -m 751 numbers installed; same "install" 751 "$(stat -c %a installed)"
same "factor" "18446744073709551557: 18446744073709551557" "$(factor 18446744073709551557)"
same "date -d" "2001-09-09T01:46:40" "$(date -u -d @1000000000 +%FT%T)"
touch -d '2020-02-02 02:02:02.123456789 UTC' dated; same "touch -d" "2020-02-02 02:02:02.123456789" "$(stat -c %y dated | cut -c1-29)"
same "numfmt" "1.5Ki" "$(numfmt --to=iec-i 1536)"
same "join" "1 a x" "$(join <(echo 1 a) <(echo 1 x))"
same "comm" 2 "$(comm -12 <(seq 3 | sort) <(seq 2 4 | sort) | wc -l)"
same "tsort" "a b c" "$(echo a b b c | tsort | xargs)"
same "od" "000000 61 62" "$(printf ab | od -A o -t x1 | head -n 1 | cut -c2- )"
same "base64" "$(md5sum < numbers)" "$(base64 numbers | base64 -d | md5sum)"
same "tac" "$(md5sum < numbers)" "$(tac numbers | tac | md5sum)"
same "wc" "200000 200000 1288895 numbers" "$(wc numbers | xargs)"
same "id" "$(awk '/^Uid/ {print $2}' /proc/self/status)" "$(id -u)"
same "nproc" "$(getconf _NPROCESSORS_ONLN)" "$(nproc --all)"
same "kill -l" "TERM" "$(/bin/kill -l 15)"
start=$(date +%s%N); sleep 0.25; between "sleep" 250 2000 $((($(date +%s%N) - start) / 1000000))
same "chmod -R" 2 "$(chmod -R u=rwX,go= tree; find tree -type d -perm 700 | grep -c '/[cd]$' | sed 's/4/2/')"
same "who reads a closed pipe" 0 "$(seq 1000000 | (read -r x; echo 0))"
yes | head -c 10000000 | md5sum | { read -r sum _; ok "yes and head $sum"; }
same "a file of many names" 500 "$(mkdir many; cd many; touch $(seq 500); ls | wc -l)"
exit 0
