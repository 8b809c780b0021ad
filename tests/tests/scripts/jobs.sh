set -u
# Background jobs: started together, waited for by name, by turn and all at once; traps that interrupt a wait.
for i in 1 2 3 4 5; do (sleep 0.0$i; exit $i) & pids[i]=$!; done
for i in 5 3 1 2 4; do wait "${pids[i]}"; echo -n "$? "; done; echo
(sleep 0.05; exit 4) & wait -n; echo "wait -n $?"
trap 'echo term in wait' TERM
(sleep 0.1; kill -TERM $$) &
killer=$!
sleep 5 & sleeper=$!
wait $sleeper; echo "interrupted $?"
kill $sleeper; wait $sleeper 2>/dev/null; echo "killed $?"
wait $killer
trap - TERM
# The shell sees a stop and an end. Its notes carry job numbers, which depend on what it has forgotten by now.
{
    set -m
    sleep 30 & stopped=$!
    kill -STOP $stopped; until jobs -s | grep -q sleep; do :; done; echo stopped
    kill -CONT $stopped; kill $stopped
    state=147; while [ $state = 147 ]; do wait $stopped; state=$?; done; echo "terminated $state"
    set +m
} 2>/dev/null
trap 'n=$((${n:-0} + 1))' CHLD
n=0; for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; echo "at least one SIGCHLD: $((n > 0))"
trap - CHLD
mkfifo fifo; (for i in 1 2 3; do echo line $i; done > fifo) & while read -r l; do echo "got $l"; done < fifo; wait
( trap '' INT; bash -c 'kill -INT $$; echo survived' )
( trap 'echo child exit' EXIT; exit 3 ); echo "subshell $?"
nohup sh -c 'echo nohup' 2>/dev/null </dev/null
seq 1 200 | while read -r i; do echo "$i" & done | sort -n | md5sum
{ sleep 0.05; echo late; } & { echo early; }; wait
echo jobs done
