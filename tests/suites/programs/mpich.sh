# MPICH: four ranks on this machine.
# packages: mpich libmpich-dev gcc libc6-dev
# limit: 120
source "${0%/*}/checks.bash"
source "${0%/*}/mpi.bash"
holds "mpicc" mpicc.mpich -O2 -o ring ring.c -lm
for i in 1 2 3; do mpiexec.mpich -n 4 ./ring 2> errors; same "exit status $i" 0 $?; done
mpiexec.mpich -n 3 ./ring fail > out.txt 2>&1; same "a rank that aborts" 9 $?
exit 0
