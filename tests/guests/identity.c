/* Who and where a process is, and what it may: pids, names, credentials, limits, directory, priorities. */
#include "guest.h"
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <grp.h>

/* What the kernel shows as the command is the program's memory (proc(5), cmdline). */
static void shows(const char *path, const char *want)
{
    char text[4096];
    int fd = OK(open(path, O_RDONLY));
    ssize_t n = OK(read(fd, text, sizeof text - 1));
    close(fd);
    text[n] = 0;
    CHECK(strcmp(text, want) == 0);
}

static void words(char *name)
{
    char own[64];
    snprintf(own, sizeof own, "/proc/%d/cmdline", getpid());
    shows("/proc/self/cmdline", name);
    memset(name, 'x', strlen(name));
    IN_CHILD(shows("/proc/self/cmdline", name));
    shows("/proc/self/cmdline", name);
    memset(name, 'y', strlen(name));
    shows(own, name);
    ok("words that change");
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    CHECK(argc == 1 && argv[1] == NULL);
    EQ(getpid(), gettid());
    EQ(getpid(), syscall(SYS_getpid));
    EQ(getppid(), syscall(SYS_getppid));
    char text[4096];
    ssize_t n = OK(readlink("/proc/self", text, sizeof text - 1));
    text[n] = 0;
    EQ(atoi(text), getpid());
    n = OK(readlink("/proc/self/exe", text, sizeof text - 1));
    text[n] = 0;
    CHECK(strcmp(strrchr(text, '/'), "/identity") == 0);
    char name[16];
    OK(prctl(PR_GET_NAME, name));
    CHECK(strcmp(name, "identity") == 0);
    OK(prctl(PR_SET_NAME, "renamed"));
    int fd = OK(open("/proc/self/comm", O_RDONLY));
    read_all(fd, text, 8);
    CHECK(memcmp(text, "renamed\n", 8) == 0);
    close(fd);
    fd = OK(open("/proc/self/cmdline", O_RDONLY));
    n = OK(read(fd, text, sizeof text));
    EQ(n, strlen(argv[0]) + 1);
    CHECK(strcmp(text, argv[0]) == 0);
    close(fd);
    ok("pids and names");

    uid_t r, e, s;
    OK(getresuid(&r, &e, &s));
    EQ(r, e);
    EQ(s, e);
    EQ(getuid(), r);
    gid_t groups[256];
    int count = OK(getgroups(256, groups));
    printf("uid %d gid %d groups %d\n", r, getgid(), count);
    if (r == 0) {
        IN_CHILD({
            OK(setgroups(0, NULL));
            OK(setresgid(65534, 65534, 65534));
            OK(setresuid(65534, 65534, 65534));
            ERR(setuid(0), EPERM);
            ERR(open("/etc/shadow", O_RDONLY), EACCES);
            ERR(kill(getppid(), SIGTERM), EPERM);
        });
    } else {
        ERR(setuid(0), EPERM);
        ERR(open("/etc/shadow", O_RDONLY), EACCES);
        ERR(kill(1, SIGTERM), EPERM);
        ERR(setgroups(0, NULL), EPERM);
        ERR(chown("/", 0, 0), EPERM);
    }
    ok("credentials");

    struct rlimit limit, old;
    OK(getrlimit(RLIMIT_NOFILE, &old));
    limit = (struct rlimit){32, old.rlim_max};
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    ERR(fcntl(1, F_DUPFD, 40), EINVAL);
    int fds[64], opened = 0;
    while (opened < 64 && (fds[opened] = open("/dev/null", O_RDONLY)) >= 0)
        opened++;
    EQ(errno, EMFILE);
    while (opened > 0)
        close(fds[--opened]);
    OK(prlimit(0, RLIMIT_NOFILE, &old, &limit));
    EQ(limit.rlim_cur, 32);
    /* Memory limits hold where the memory is. */
    IN_CHILD({
        OK(setrlimit(RLIMIT_AS, &(struct rlimit){256 << 20, 256 << 20}));
        ERR(mmap(NULL, 512 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
        OK(mmap(NULL, 16 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        OK(setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 20, 1 << 20}));
        ERR(mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    });
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
        OK(setrlimit(RLIMIT_CPU, &(struct rlimit){1, 2}));
        for (;;)
            ;
    }
    reap(pid, KILLED(SIGXCPU));
    ok("limits");

    OK(mkdir("here", 0700));
    OK(chdir("here"));
    CHECK(getcwd(text, sizeof text) && strcmp(strrchr(text, '/'), "/here") == 0);
    n = OK(readlink("/proc/self/cwd", text, sizeof text - 1));
    text[n] = 0;
    CHECK(strcmp(strrchr(text, '/'), "/here") == 0);
    IN_CHILD(OK(chdir("/")));
    CHECK(getcwd(text, sizeof text) && strcmp(strrchr(text, '/'), "/here") == 0);
    OK(chdir(".."));
    OK(rmdir("here"));
    umask(077);
    EQ(umask(022), 077);
    struct utsname u;
    OK(uname(&u));
    CHECK(strcmp(u.sysname, "Linux") == 0 && strcmp(u.machine, "x86_64") == 0);
    ok("directory, umask, uname");

    errno = 0;
    int before = getpriority(PRIO_PROCESS, 0);
    IN_CHILD({
        OK(setpriority(PRIO_PROCESS, 0, before + 5));
        EQ(getpriority(PRIO_PROCESS, 0), before + 5);
        struct sched_param param = {0};
        EQ(OK(sched_getscheduler(0)), SCHED_OTHER);
        OK(sched_setscheduler(0, SCHED_BATCH, &param));
        EQ(OK(sched_getscheduler(0)), SCHED_BATCH);
    });
    EQ(getpriority(PRIO_PROCESS, 0), before);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    OK(sched_getaffinity(0, sizeof cpus, &cpus));
    CHECK(CPU_COUNT(&cpus) >= 1 && CPU_COUNT(&cpus) <= sysconf(_SC_NPROCESSORS_CONF));
    unsigned cpu, node;
    OK(syscall(SYS_getcpu, &cpu, &node, NULL));
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    IN_CHILD(EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1));
    EQ(personality(0xffffffff), 0);
    unsigned char random[32] = {0}, zero[32] = {0};
    EQ(OK(syscall(SYS_getrandom, random, sizeof random, 0)), 32);
    CHECK(memcmp(random, zero, sizeof random) != 0);
    ok("priorities, CPUs, prctl, randomness");
    words(argv[0]);
    return 0;
}
