/* Sockets: descriptors and credentials over AF_UNIX, many messages in one call, streams and datagrams over loopback. */
#include "guest.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/uio.h>
#include <sys/un.h>

static void send_fds(int sock, const int *fds, int n, const char *text)
{
    char control[CMSG_SPACE(16 * sizeof(int))] = {0};
    struct iovec v = {(void *)text, strlen(text)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    EQ(OK(sendmsg(sock, &m, 0)), strlen(text));
}

static int receive_fds(int sock, int *fds, const char *text, int flags)
{
    char control[CMSG_SPACE(16 * sizeof(int))], got[64] = {0};
    struct iovec v = {got, sizeof got};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ(OK(recvmsg(sock, &m, flags)), strlen(text));
    CHECK(strcmp(got, text) == 0);
    EQ(m.msg_flags & MSG_CTRUNC, 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS);
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return n;
}

static void descriptors(void)
{
    int s[2], fds[16];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        close(s[0]);
        int p[2], file = OK(open("passed", O_RDWR | O_CREAT | O_TRUNC, 0600));
        write_all(file, "from the file", 13);
        OK(lseek(file, 5, SEEK_SET));
        OK(pipe(p));
        write_all(p[1], "from the pipe", 13);
        send_fds(s[1], (int[]){file, p[0], s[1]}, 3, "three");
        char c;
        read_all(s[1], &c, 1);
        /* The offset is shared. */
        EQ(lseek(file, 0, SEEK_CUR), 13);
        _exit(0);
    }
    close(s[1]);
    EQ(receive_fds(s[0], fds, "three", MSG_CMSG_CLOEXEC), 3);
    char text[32] = {0};
    EQ(OK(read(fds[0], text, 32)), 8);
    CHECK(strcmp(text, "the file") == 0);
    read_all(fds[1], text, 13);
    CHECK(memcmp(text, "from the pipe", 13) == 0);
    EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    write_all(s[0], "x", 1);
    reap(pid, 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(s[0]);
    ok("SCM_RIGHTS across processes");

    /* A socket sent over itself, many at once, and a buffer too small for all. */
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    int many[16];
    for (int i = 0; i < 16; i++)
        many[i] = i % 2 ? s[0] : 1;
    send_fds(s[0], many, 16, "sixteen");
    EQ(receive_fds(s[1], fds, "sixteen", 0), 16);
    for (int i = 0; i < 16; i++)
        close(fds[i]);
    send_fds(s[0], many, 3, "cut");
    char control[CMSG_SPACE(sizeof(int))], buffer[8];
    struct iovec v = {buffer, sizeof buffer};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
    EQ(OK(recvmsg(s[1], &m, 0)), 3);
    EQ(m.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
    EQ(CMSG_FIRSTHDR(&m)->cmsg_len, CMSG_LEN(sizeof(int)));
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
    close(fds[0]);
    ok("SCM_RIGHTS, many and truncated");

    int on = 1;
    OK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    fflush(stdout);
    pid = OK(fork());
    if (pid == 0) {
        OK(send(s[0], "me", 2, 0));
        _exit(0);
    }
    char space[CMSG_SPACE(sizeof(struct ucred))];
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    EQ(OK(recvmsg(s[1], &m, 0)), 2);
    struct ucred cred;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_type == SCM_CREDENTIALS);
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    EQ(cred.pid, pid);
    EQ(cred.uid, getuid());
    reap(pid, 0);
    socklen_t size = sizeof cred;
    OK(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &size));
    EQ(cred.pid, getpid());
    close(s[0]);
    close(s[1]);
    ok("SCM_CREDENTIALS, SO_PEERCRED");
}

static void messages(void)
{
    int s[2];
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    struct mmsghdr out[8], in[8];
    struct iovec ov[16], iv[8];
    char text[16][8], got[8][32];
    memset(out, 0, sizeof out);
    memset(in, 0, sizeof in);
    for (int i = 0; i < 16; i++) {
        snprintf(text[i], sizeof text[i], "part%d", i % 10);
        ov[i] = (struct iovec){text[i], 5};
    }
    for (int i = 0; i < 8; i++) {
        out[i].msg_hdr.msg_iov = &ov[2 * i];
        out[i].msg_hdr.msg_iovlen = 2;
        iv[i] = (struct iovec){got[i], sizeof got[i]};
        in[i].msg_hdr.msg_iov = &iv[i];
        in[i].msg_hdr.msg_iovlen = 1;
    }
    EQ(OK(sendmmsg(s[0], out, 8, 0)), 8);
    for (int i = 0; i < 8; i++)
        EQ(out[i].msg_len, 10);
    struct timespec ts = {5, 0};
    EQ(OK(recvmmsg(s[1], in, 8, MSG_WAITFORONE, &ts)), 8);
    for (int i = 0; i < 8; i++) {
        EQ(in[i].msg_len, 10);
        CHECK(memcmp(got[i], text[2 * i], 5) == 0 && memcmp(got[i] + 5, text[2 * i + 1], 5) == 0);
    }
    ok("sendmmsg, recvmmsg");
    OK(send(s[0], "0123456789", 10, 0));
    char small[4];
    EQ(OK(recv(s[1], small, 4, MSG_PEEK | MSG_TRUNC)), 10);
    EQ(OK(recv(s[1], small, 4, 0)), 4);
    ERR(recv(s[1], small, 4, MSG_DONTWAIT), EAGAIN);
    OK(send(s[0], "", 0, 0));
    EQ(OK(recv(s[1], small, 4, 0)), 0);
    ok("MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT, empty datagrams");
    close(s[1]);
    ERR(send(s[0], "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
    close(s[0]);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    close(s[1]);
    ERR(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    IN_CHILD({
        pid_t pid = OK(fork());
        if (pid == 0) {
            OK(send(s[0], "x", 1, 0));
            _exit(1);
        }
        reap(pid, KILLED(SIGPIPE));
    });
    close(s[0]);
    ok("EPIPE and SIGPIPE");

    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "socket");
    int l = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    OK(bind(l, (struct sockaddr *)&a, sizeof a));
    OK(listen(l, 5));
    int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(connect(c, (struct sockaddr *)&a, sizeof a));
    struct sockaddr_un peer;
    socklen_t size = sizeof peer;
    int d = OK(accept4(l, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    EQ(size, sizeof(sa_family_t));
    size = sizeof peer;
    OK(getpeername(c, (struct sockaddr *)&peer, &size));
    CHECK(strcmp(peer.sun_path, "socket") == 0);
    close(c);
    close(d);
    close(l);
    OK(unlink("socket"));
    ERR(connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&a, sizeof a), ENOENT);
    ok("AF_UNIX by name");
}

enum { TOTAL = 8 << 20 };

static void *server(void *arg)
{
    int c = OK(accept(*(int *)arg, NULL, NULL));
    unsigned char *got = malloc(TOTAL);
    read_all(c, got, TOTAL);
    CHECK(is_filled(got, TOTAL, 3));
    write_all(c, got, TOTAL);
    free(got);
    char end;
    EQ(OK(read(c, &end, 1)), 0);
    close(c);
    return NULL;
}

static void *sender(void *arg)
{
    unsigned char *data = malloc(TOTAL);
    fill(data, TOTAL, 3);
    write_all(*(int *)arg, data, TOTAL);
    free(data);
    return NULL;
}

static void internet(void)
{
    int l = OK(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
    OK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    OK(bind(l, (struct sockaddr *)&a, sizeof a));
    OK(listen(l, 5));
    socklen_t size = sizeof a;
    OK(getsockname(l, (struct sockaddr *)&a, &size));
    int c = OK(socket(AF_INET, SOCK_STREAM, 0));
    pthread_t t, u;
    RET(pthread_create(&t, NULL, server, &l), 0);
    OK(connect(c, (struct sockaddr *)&a, sizeof a));
    OK(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    int value = 0;
    size = sizeof value;
    OK(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, &size));
    CHECK(value != 0);
    RET(pthread_create(&u, NULL, sender, &c), 0);
    unsigned char *got = malloc(TOTAL);
    read_all(c, got, TOTAL);
    CHECK(is_filled(got, TOTAL, 3));
    free(got);
    OK(shutdown(c, SHUT_WR));
    RET(pthread_join(t, NULL), 0);
    RET(pthread_join(u, NULL), 0);
    close(c);
    close(l);
    c = OK(socket(AF_INET, SOCK_STREAM, 0));
    ERR(connect(c, (struct sockaddr *)&a, sizeof a), ECONNREFUSED);
    close(c);
    ok("8 MiB there and back over TCP");

    int x = OK(socket(AF_INET, SOCK_DGRAM, 0)), y = OK(socket(AF_INET, SOCK_DGRAM, 0));
    a.sin_port = 0;
    OK(bind(x, (struct sockaddr *)&a, sizeof a));
    size = sizeof a;
    OK(getsockname(x, (struct sockaddr *)&a, &size));
    EQ(OK(sendto(y, "datagram", 8, 0, (struct sockaddr *)&a, sizeof a)), 8);
    char text[16];
    struct sockaddr_in from;
    size = sizeof from;
    EQ(OK(recvfrom(x, text, sizeof text, 0, (struct sockaddr *)&from, &size)), 8);
    EQ(size, sizeof from);
    EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    OK(setsockopt(x, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 30000}, sizeof(struct timeval)));
    int64_t start = now_ms();
    ERR(recv(x, text, sizeof text, 0), EAGAIN);
    CHECK(now_ms() - start >= 25);
    close(x);
    close(y);
    ok("UDP, SO_RCVTIMEO");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    descriptors();
    messages();
    internet();
    OK(unlink("passed"));
    return 0;
}
