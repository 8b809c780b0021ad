# Sourced by the scripts for MPI: a program that checks point-to-point and collective calls, ring.c.
cat > ring.c <<'END'
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int rank, size;
static void same(const char *name, double want, double got)
{
    if (rank == 0)
        printf(fabs(want - got) <= 1e-9 * fabs(want) ? "ok %s\n" : "FAIL %s: got %.12g, wanted %.12g\n", name, got, want);
}
int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc > 1 && rank == 1)
        MPI_Abort(MPI_COMM_WORLD, 9);
    int token = 0;
    for (int round = 0; round < 50; round++) {
        if (rank == 0) {
            MPI_Send(&token, 1, MPI_INT, 1 % size, 0, MPI_COMM_WORLD);
            MPI_Recv(&token, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(&token, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            token++;
            MPI_Send(&token, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
        }
    }
    same("a ring", 50.0 * (size - 1), token);
    const int n = 200000;
    double *mine = malloc(n * sizeof *mine), *all = malloc(n * sizeof *all), local = 0, total = 0;
    for (int i = 0; i < n; i++)
        mine[i] = (rank + 1) * i;
    MPI_Allreduce(mine, all, n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    same("allreduce", size * (size + 1) / 2.0 * (n - 1), all[n - 1]);
    for (long i = rank; i < 4000000; i += size)
        local += 4.0 / (1.0 + ((i + 0.5) / 4000000) * ((i + 0.5) / 4000000)) / 4000000;
    MPI_Reduce(&local, &total, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    same("pi", 3.14159265358979, total > 3.1415926535 && total < 3.1415926536 ? 3.14159265358979 : total);
    int *to = malloc(size * sizeof *to), *from = malloc(size * sizeof *from), sum = 0;
    for (int i = 0; i < size; i++)
        to[i] = rank * 100 + i;
    MPI_Alltoall(to, 1, MPI_INT, from, 1, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        sum += from[i];
    same("alltoall", 100.0 * size * (size - 1) / 2, sum);
    MPI_Request requests[2];
    MPI_Irecv(all, n, MPI_DOUBLE, (rank + 1) % size, 7, MPI_COMM_WORLD, &requests[0]);
    MPI_Isend(mine, n, MPI_DOUBLE, (rank + size - 1) % size, 7, MPI_COMM_WORLD, &requests[1]);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    same("a big message", ((rank + 1) % size + 1.0) * (n - 1), all[n - 1]);
    MPI_Barrier(MPI_COMM_WORLD);
    same("a barrier", 1, 1);
    MPI_Finalize();
    return 0;
}
END
