# Open MPI: four ranks on this machine.
# packages: openmpi-bin libopenmpi-dev gcc libc6-dev
# limit: 120
source "${0%/*}/checks.bash"
source "${0%/*}/mpi.bash"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_plm_rsh_agent=/bin/false OMPI_MCA_btl_base_warn_component_unused=0
holds "mpicc" mpicc.openmpi -O2 -o ring ring.c -lm
for i in 1 2 3; do mpiexec.openmpi --oversubscribe -n 4 ./ring 2> errors; same "exit status $i" 0 $?; done
mpiexec.openmpi --oversubscribe -n 3 ./ring fail > out.txt 2>&1; same "a rank that aborts" 9 $?
exit 0
