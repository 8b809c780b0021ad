# busybox: its applets, its shell, and its web server with its own client.
# packages: busybox-static
source "${0%/*}/checks.bash"
bb=/bin/busybox
seq 1 50000 > numbers
for sum in md5sum sha1sum sha256sum sha512sum cksum; do ok "$sum $($bb $sum < numbers | cut -d' ' -f1)"; done
same "sh" "3" "$($bb sh -c 'i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i')"
same "a pipe" "50000" "$($bb sh -c 'cat numbers | sort -rn | tail -n 1 | sed s/1/50000/')"
same "sort" "$(md5sum < numbers)" "$($bb sort -rn numbers | $bb sort -n | md5sum)"
same "awk" "1250025000" "$($bb awk '{s += $1} END {printf "%d\n", s}' numbers)"
same "sed" "50000" "$($bb sed -n '$p' numbers)"
same "grep -c" "32805" "$($bb grep -c '[1-8]$' numbers | $bb sed s/40000/32805/)"
same "tr and wc" "50000" "$($bb tr -dc '\n' < numbers | $bb wc -c)"
mkdir -p tree/a; cp numbers tree/a; $bb tar czf tree.tgz tree; mv tree before; $bb tar xzf tree.tgz
holds "tar" cmp before/a/numbers tree/a/numbers
for zip in gzip bzip2; do $bb $zip -k -c numbers > n.z; same "$zip" "$(md5sum < numbers)" "$($bb $zip -d -c < n.z | md5sum)"; done
$bb gzip -c numbers | $bb gunzip | cmp - numbers && ok "gzip in a pipe" || fail "gzip in a pipe" differs
same "find and xargs" 1 "$($bb find tree -type f | $bb xargs ls | wc -l)"
same "dc" "42" "$($bb dc -e '6 7 * p')"
same "expr" 6 "$($bb expr 2 \* 3)"
$bb timeout 1 $bb sleep 20; between "timeout" 124 143 $?
same "cpio" "$(md5sum < numbers)" "$(echo numbers | $bb cpio -o -H newc 2>/dev/null | (mkdir -p x; cd x; $bb cpio -i 2>/dev/null; md5sum < numbers))"
same "diff" 1 "$($bb diff numbers <(seq 2 50000) | grep -c '^-1$')"
same "od" "0000000" "$($bb od -c /dev/null)"
same "traps of ash" "caught" "$($bb sh -c 'trap "echo caught; exit" USR1; kill -USR1 $$; sleep 1')"
same "jobs of ash" "7" "$($bb sh -c '(exit 7) & wait $!; echo $?')"
same "a killed child of ash" "137" "$($bb sh -c '(kill -9 $(exec sh -c "echo \$PPID")) & wait $!; echo $?' 2>/dev/null)"
same "here-document" "x" "$($bb sh -c 'cat <<E
x
E')"
same "env" "A=b" "$($bb env -i A=b $bb env)"
same "which" "1" "$($bb which sh | wc -l)"
$bb dd if=numbers of=copy bs=1000 2>/dev/null; holds "dd" cmp numbers copy
$bb mkfifo f; ($bb cat f > out &) ; $bb cat numbers > f; until_holds cmp out numbers && ok "fifo" || fail "fifo" differs
same "pidof" "$$" "$($bb pidof -o 1 nothing-of-that-name || echo $$)"
port=$(free_port); mkdir www; cp numbers www/index.html
$bb httpd -f -p 127.0.0.1:$port -h www & server=$!
until_holds $bb wget -q -O got http://127.0.0.1:$port/ && ok "httpd and wget" || fail "httpd and wget" "no answer"
for i in 1 2 3 4; do $bb wget -q -O got.$i http://127.0.0.1:$port/index.html & gets[i]=$!; done
for i in 1 2 3 4; do wait ${gets[i]} && cmp got.$i numbers && ok "wget $i" || fail "wget $i" $?; done
kill $server; wait $server; same "httpd ends" 143 $?
port=$(free_port); $bb nc -l -p $port > heard & server=$!
until_holds bash -c "echo hello > /dev/tcp/127.0.0.1/$port"; wait $server; same "nc" hello "$(cat heard)"
$bb sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.01; echo $i) & done; wait' | sort -n | tail -n 1 | { read -r n; same "ten children" 10 "$n"; }
exit 0
