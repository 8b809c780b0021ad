// Mappings, and what System V and POSIX give to share.
#include "guest.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

int main(void) {
    int fd = open("mapped", O_RDWR | O_CREAT, 0600);
    call(ftruncate, fd, 8192L);
    char *at = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
    mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, -1, 0);
    mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 4096);
    mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
    mmap(NULL, 4096, PROT_READ, 0, fd, 0);
    mmap(NULL, 0, PROT_READ | 0x80, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 5);
    call(mprotect, at, 4096L, PROT_READ | PROT_GROWSUP);
    call(mprotect, at, 4096L, PROT_NONE);
    char *big = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    call(madvise, big, 4096L, MADV_DONTNEED);
    call(madvise, big, 4096L, MADV_HUGEPAGE);
    call(madvise, big, 4096L, MADV_WIPEONFORK);
    call(madvise, big, 4096L, 77);
    char resident[256];
    call(mincore, big, 8192L, resident);
    call(mincore, big + 1, 8192L, resident);
    call(msync, at, 4096L, MS_SYNC | MS_INVALIDATE);
    call(msync, big, 4096L, MS_ASYNC);
    call(mlock, big, 4096L);
    call(mlock2, big, 4096L, 1);
    call(munlock, big, 4096L);
    call(mlockall, MCL_CURRENT | MCL_ONFAULT | 8);
    call(munlockall);
    char *moved = (char *)call(mremap, big, 1L << 20, 2L << 20, MREMAP_MAYMOVE);
    call(mremap, moved, 4096L, 4096L, MREMAP_MAYMOVE | MREMAP_FIXED, big);
    call(mremap, moved, 0L, 4096L, 0);
    call(munmap, moved, 2L << 20);
    call(munmap, 1L, 4096L);
    call(brk, 0);
    call(remap_file_pages, at, 4096L, 0, 0L, 0);
    call(pkey_alloc, 0, 1);
    call(pkey_free, 99);
    call(mbind, at, 4096L, 0, NULL, 0L, 0);
    int policy;
    call(get_mempolicy, &policy, NULL, 0L, NULL, 0);
    call(set_mempolicy, 0, NULL, 0L);
    call(process_vm_readv, getpid(), &(struct { void *p; long n; }){resident, 5}, 1L, &(struct { void *p; long n; }){"hello", 5}, 1L, 0L);

    // Semaphores, messages, segments.
    int sem = call(semget, IPC_PRIVATE, 3, IPC_CREAT | 0600);
    call(semget, 0x1234567, 0, 0);
    struct sembuf ops[2] = {{0, 2, SEM_UNDO}, {1, 1, IPC_NOWAIT}};
    call(semop, sem, ops, 2L);
    call(semtimedop, sem, &(struct sembuf){2, -1, IPC_NOWAIT | SEM_UNDO}, 1L, &(struct timespec){1, 0});
    call(semtimedop, sem, &(struct sembuf){2, -1, 0}, 1L, &(struct timespec){0, 1000000});
    call(semop, sem, BAD, 2L);
    unsigned short values[3] = {1, 2, 3};
    struct semid_ds semds;
    call(semctl, sem, 0, GETALL, values);
    call(semctl, sem, 0, SETALL, values);
    call(semctl, sem, 1, GETVAL, 0L);
    call(semctl, sem, 1, SETVAL, 5L);
    call(semctl, sem, 0, GETNCNT, 0L);
    call(semctl, sem, 0, IPC_STAT, &semds);
    call(semctl, sem, 0, IPC_SET, &semds);
    call(semctl, sem, 0, IPC_RMID, 0L);
    call(semctl, sem, 0, 77, 5L);
    int queue = call(msgget, IPC_PRIVATE, IPC_CREAT | IPC_EXCL | 0640);
    struct { long type; char text[64]; } message = {7, "text of the message, which is longer than 32"};
    call(msgsnd, queue, &message, 44L, IPC_NOWAIT);
    call(msgrcv, queue, &message, 64L, 7L, MSG_NOERROR);
    call(msgrcv, queue, &message, 64L, -5L, IPC_NOWAIT | MSG_EXCEPT);
    call(msgsnd, queue, BAD, 44L, 0);
    struct msqid_ds msgds;
    call(msgctl, queue, IPC_STAT, &msgds);
    call(msgctl, queue, IPC_SET, &msgds);
    call(msgctl, queue, IPC_RMID, NULL);
    int segment = call(shmget, IPC_PRIVATE, 8192L, IPC_CREAT | SHM_NORESERVE | 0600);
    call(shmget, 77, 5L, IPC_EXCL);
    void *shared = (void *)call(shmat, segment, NULL, 0);
    call(shmat, segment, NULL, SHM_RDONLY | SHM_RND);
    call(shmat, segment, BAD, SHM_REMAP | SHM_EXEC);
    struct shmid_ds shmds;
    call(shmctl, segment, IPC_STAT, &shmds);
    call(shmctl, segment, IPC_SET, &shmds);
    call(shmctl, segment, SHM_LOCK, NULL);
    call(shmctl, segment, IPC_RMID, NULL);
    call(shmdt, shared);
    call(shmdt, BAD);

    struct mq_attr attr = {.mq_flags = O_NONBLOCK, .mq_maxmsg = 5, .mq_msgsize = 64};
    int mq = call(mq_open, "trace-lines", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attr);
    call(mq_open, "none", O_RDONLY);
    call(mq_open, "none", O_RDONLY | O_CREAT, 0600, BAD);
    call(mq_timedsend, mq, "posix", 5L, 3, NULL);
    char text[64];
    unsigned priority;
    call(mq_timedreceive, mq, text, 64L, &priority, &(struct timespec){1, 0});
    call(mq_timedreceive, mq, text, 64L, &priority, NULL);
    call(mq_getsetattr, mq, &attr, &attr);
    call(mq_notify, mq, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    call(mq_notify, mq, &event);
    call(mq_unlink, "trace-lines");
    call(shmdt, NULL);
    unlink("mapped");
    return 0;
}
