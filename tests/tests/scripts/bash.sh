set -u
trap 'echo exit trap $?' EXIT
trap 'echo got usr1' USR1
kill -USR1 $$
f() { local x=$1; ((x > 0)) && { echo -n "$x "; f $((x - 1)); } || echo; }
f 20
cat <<HERE
here $((1 + 1)) ${HOME##*/}
HERE
cat <<'HERE'
here $((1 + 1)) `raw`
HERE
read -r a b <<<"two words"; echo "$b $a"
declare -A map=([one]=1 [two]=2); for k in $(printf '%s\n' "${!map[@]}" | sort); do echo "$k=${map[$k]}"; done
for i in {1..100}; do (exit $((i % 3))); echo -n $?; done; echo
x=$(for i in {1..50}; do echo "$i"; done | while read -r n; do echo $((n * n)); done | tail -1); echo "$x"
mapfile -t lines < <(printf 'a\nb\nc\n'); echo "${#lines[@]} ${lines[2]}"
exec 5>out; echo through five >&5; exec 5>&-; cat out
exec 6<<<"from six"; read -r -u 6 line; echo "$line"; exec 6<&-
diff <(echo a) <(echo b); echo "diff $?"
coproc CAT { cat; }; echo to coproc >&"${CAT[1]}"; read -r line <&"${CAT[0]}"; echo "$line"; exec {CAT[1]}>&-; wait
[[ "mosix-run" =~ ^(.*)-(.*)$ ]] && echo "${BASH_REMATCH[2]}"
set -o pipefail; false | true; echo "pipefail $?"; set +o pipefail
(ulimit -n 50; ulimit -n); umask 022; umask
select_nothing() { return 3; }; select_nothing; echo "return $?"
{ /bin/sh -c 'kill -9 $$'; } 2>/dev/null; echo "killed $?"
nosuchcommand 2>/dev/null; echo "not found $?"
./out 2>/dev/null; echo "not executable $?"
printf -v s '%(%Y)T' 0; echo "$s"
type -t cd; command -v sh
time_out=$( { TIMEFORMAT='%0R'; time sleep 0.1; } 2>&1 ); echo "time $time_out"
echo bash done
exit 0
