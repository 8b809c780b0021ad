# bash: jobs, traps, times, waits, descriptors, expansions.
# packages: bash mawk
source "${0%/*}/checks.bash"
burn() { local i; for ((i = 0; i < 150000; i++)); do :; done; }

burn
times > times.txt
[[ $(head -n 1 times.txt) != 0m0.000s* ]] && ok "times, own" || fail "times, own" "$(head -n 1 times.txt)"
(burn; burn)
[[ $(TIMEFORMAT=%U; { time (burn; burn); } 2>&1) != 0.000 ]] && ok "time of a subshell" || fail "time of a subshell" zero
times > times.txt
[[ $(tail -n 1 times.txt) != "0m0.000s 0m0.000s" ]] && ok "times, children" || fail "times, children" zero

sleep 30 & pid=$!
same "jobs -p" "$pid" "$(jobs -p)"
kill %1; wait %1; same "kill %1" 143 $?
(exit 7) & wait $!; same "wait for a status" 7 $?
sleep 0.2 & (exit 3) & wait -n; same "wait -n" 3 $?
wait; same "wait for all" 0 $?
wait -n 2>/dev/null; same "wait -n without children" 127 $?
for i in {1..40}; do (exit $i) & pids[i]=$!; done
sum=0; for i in {1..40}; do wait "${pids[i]}"; ((sum += $?)); done; same "forty children" 820 $sum

trap 'got=usr1' USR1; got=; kill -USR1 $$; same "trap USR1" usr1 "$got"
trap 'got=alarm' ALRM; got=; (sleep 0.1; kill -ALRM $$) & wait $!; same "a trap while it waits" alarm "$got"; wait
trap 'echo exiting' EXIT; same "trap EXIT in a subshell" "in
out" "$(trap 'echo out' EXIT; echo in)"; trap - EXIT
same "trap ERR" "err 3" "$(trap 'echo err $?' ERR; (exit 3))"
same "trap DEBUG" "d:echo x x" "$(trap '[[ $BASH_COMMAND == echo* ]] && printf "d:%s " "$BASH_COMMAND"' DEBUG; echo x)"
children=0; trap '((children++))' CHLD; set -m; true & wait; set +m; trap - CHLD
between "trap CHLD" 1 9 $children
same "an ignored signal is inherited" "ignored" "$(trap '' TERM; bash -c 'kill -TERM $$; echo ignored')"
same "SIGPIPE" "141 0" "$(yes | head -n 1 >/dev/null; echo "${PIPESTATUS[*]}")"
same "killed by SIGKILL" 137 "$(bash -c 'kill -9 $$' 2>/dev/null; echo $?)"

set -m
state() { local line; read -r line < /proc/$1/stat; line=${line##*) }; echo "${line:0:1}"; }
becomes() { local i; for ((i = 0; i < 100; i++)); do [[ $(state $1) == [$2] ]] && return; sleep 0.05; done; return 1; }
sleep 30 & pid=$!; until becomes $pid S; do :; done; kill -STOP %%
becomes $pid Tt && ok "a stopped job" || fail "a stopped job" "$(state $pid)"
same "how a stopped process shows" T "$(state $pid)"
jobs > listed; until [[ $(jobs -s | wc -l) == 1 ]]; do sleep 0.05; done; ok "jobs -s"
bg >/dev/null 2>&1; kill -CONT %%; becomes $pid S && ok "a continued job" || fail "a continued job" "$(state $pid)"
kill %%; wait %% 2>/dev/null
set +m

coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; same "coproc" through "$line"
exec {fd}>&"${COPROC[1]}"; eval "exec ${COPROC[1]}>&-"; exec {fd}>&-; wait "$COPROC_PID"; same "coproc ends" 0 $?
same "process substitution" "1 2 3" "$(paste -d' ' <(echo 1) <(echo 2) <(echo 3))"
echo one two | tee >(wc -w > words) >/dev/null; until_holds test -s words; same "output substitution" 2 "$(cat words)"
read -r -t 0.2 line < <(sleep 1); between "read -t" 129 255 $?
same "here-document" "a $HOME" "$(cat <<END
a $HOME
END
)"
exec 7>file; echo seven >&7; exec 7>&-; same "exec N>" seven "$(<file)"
mapfile -t lines < <(seq 1000); same "mapfile" 1000 "${#lines[@]}"
same "ulimit -n" 100 "$(ulimit -n 100; ulimit -n)"
same "umask" "-rw-------" "$(umask 077; : > private; ls -l private | cut -c1-10)"
same "pipefail" 1 "$(set -o pipefail; false | true; echo $?)"
same "BASHPID" "$(bash -c 'echo $$ $BASHPID' | awk '{print ($1 == $2)}')" 1
same "printf %(…)T" "1970-01-01" "$(printf '%(%F)T' 0)"
same "a long pipe" 100000 "$(seq 100000 | sort -rn | tac | awk '{s++} END {print s}')"
same "background in a pipe" "3" "$( (sleep 0.1 & echo a; wait; echo b) | cat | (cat; echo c) | wc -l)"
SECONDS=0; sleep 1.1; between "SECONDS" 1 3 $SECONDS
same "exec -a" "other" "$(exec -a other bash -c 'echo $0')"
same "a signal in a function" "in trap after" "$(f() { kill -USR2 $BASHPID; echo after; }; trap 'printf "in trap "' USR2; f)"
same "a descriptor of /dev/fd" x "$(cat /dev/fd/3 3<<<x)"
same "/proc/self" "bash" "$(read -r comm < /proc/$BASHPID/comm; echo "$comm")"
exit 0
