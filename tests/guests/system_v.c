/* Semaphores and queues of System V and POSIX, between processes. */
#include "guest.h"
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int sem = OK(semget(IPC_PRIVATE, 3, 0600));
    OK(semctl(sem, 0, SETALL, (unsigned short[]){1, 0, 5}));
    struct sembuf take = {0, -1, 0}, give = {0, 1, 0}, try = {1, -1, IPC_NOWAIT}, undo = {2, -2, SEM_UNDO};
    ERR(semop(sem, &try, 1), EAGAIN);
    struct sembuf both[2] = {{0, -1, 0}, {2, -5, 0}};
    OK(semop(sem, both, 2));
    EQ(OK(semctl(sem, 2, GETVAL)), 0);
    OK(semctl(sem, 2, SETVAL, 5));
    OK(semop(sem, &give, 1));
    IN_CHILD(OK(semop(sem, &undo, 1)));
    EQ(OK(semctl(sem, 2, GETVAL)), 5);
    int order = OK(open("order", O_RDWR | O_CREAT | O_APPEND, 0600));
    for (int i = 0; i < 4; i++)
        if (OK(fork()) == 0) {
            for (int k = 0; k < 50; k++) {
                OK(semop(sem, &take, 1));
                off_t at = OK(lseek(order, 0, SEEK_END));
                write_all(order, "x", 1);
                EQ(OK(lseek(order, 0, SEEK_CUR)), at + 1);
                OK(semop(sem, &give, 1));
            }
            _exit(0);
        }
    for (int i = 0, status; i < 4; i++) {
        OK(wait(&status));
        EQ(status, 0);
    }
    EQ(OK(lseek(order, 0, SEEK_END)), 200);
    struct timespec ts = {0, 20000000};
    ERR(semtimedop(sem, &(struct sembuf){1, -1, 0}, 1, &ts), EAGAIN);
    OK(semctl(sem, 0, IPC_RMID));
    ERR(semop(sem, &take, 1), EINVAL);
    OK(unlink("order"));
    ok("System V semaphores");

    int queue = OK(msgget(IPC_PRIVATE, 0600));
    struct { long type; char text[64]; } m = {3, "three"};
    OK(msgsnd(queue, &m, 6, 0));
    m.type = 1;
    strcpy(m.text, "one");
    OK(msgsnd(queue, &m, 4, 0));
    EQ(OK(msgrcv(queue, &m, sizeof m.text, 1, 0)), 4);
    CHECK(strcmp(m.text, "one") == 0);
    ERR(msgrcv(queue, &m, 2, 0, 0), E2BIG);
    EQ(OK(msgrcv(queue, &m, 2, 0, MSG_NOERROR)), 2);
    ERR(msgrcv(queue, &m, sizeof m.text, 0, IPC_NOWAIT), ENOMSG);
    pid_t pid = OK(fork());
    if (pid == 0) {
        EQ(OK(msgrcv(queue, &m, sizeof m.text, 9, 0)), 5);
        CHECK(strcmp(m.text, "nine") == 0);
        _exit(0);
    }
    m.type = 9;
    strcpy(m.text, "nine");
    OK(msgsnd(queue, &m, 5, 0));
    reap(pid, 0);
    OK(msgctl(queue, IPC_RMID, NULL));
    ok("System V messages");

    char name[64];
    snprintf(name, sizeof name, "/mosix-guest-%d", getpid());
    sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    CHECK(s != SEM_FAILED);
    pid = OK(fork());
    if (pid == 0) {
        OK(sem_wait(s));
        _exit(0);
    }
    OK(sem_post(s));
    reap(pid, 0);
    int value;
    OK(sem_getvalue(s, &value));
    EQ(value, 0);
    OK(sem_close(s));
    OK(sem_unlink(name));
    ok("POSIX semaphores");

    struct mq_attr attr = {.mq_maxmsg = 5, .mq_msgsize = 32};
    mqd_t mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    CHECK(mq != (mqd_t)-1);
    OK(mq_send(mq, "low", 4, 1));
    OK(mq_send(mq, "high", 5, 9));
    char text[32];
    unsigned priority;
    EQ(OK(mq_receive(mq, text, sizeof text, &priority)), 5);
    EQ(priority, 9);
    EQ(OK(mq_receive(mq, text, sizeof text, &priority)), 4);
    ERR(mq_receive(mq, text, 8, &priority), EMSGSIZE);
    OK(clock_gettime(CLOCK_REALTIME, &ts));
    ERR(mq_timedreceive(mq, text, sizeof text, &priority, &ts), ETIMEDOUT);
    pid = OK(fork());
    if (pid == 0) {
        EQ(OK(mq_receive(mq, text, sizeof text, &priority)), 6);
        _exit(strcmp(text, "child") == 0 ? 0 : 1);
    }
    OK(mq_send(mq, "child", 6, 0));
    reap(pid, 0);
    OK(mq_close(mq));
    OK(mq_unlink(name));
    ok("POSIX message queues");
    return 0;
}
