// Sockets of every family, their options, messages with control data.
#include "guest.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define set(fd, level, name, type, ...) \
    do { type value = __VA_ARGS__; call(setsockopt, fd, level, name, &value, (int)sizeof value); } while (0)
#define get(fd, level, name, room) \
    do { char value[room]; memset(value, 0, room); socklen_t len = room; call(getsockopt, fd, level, name, value, &len); } while (0)

int main(void) {
    char buf[512] = {0};
    // Pairs, and messages with descriptors.
    int pair[2];
    call(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    call(socketpair, AF_INET, SOCK_STREAM, IPPROTO_TCP, pair + 1);
    call(socketpair, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
    union { char bytes[256]; struct cmsghdr header; } control = {{0}};
    struct iovec iov[2] = {{"hello", 5}, {", world of messages that are not short", 38}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = CMSG_SPACE(8)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(8);
    memcpy(CMSG_DATA(c), (int[]){0, 1}, 8);
    call(sendmsg, pair[0], &msg, MSG_NOSIGNAL);
    struct iovec into[2] = {{buf, 20}, {buf + 20, 100}};
    msg = (struct msghdr){.msg_iov = into, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
    call(recvmsg, pair[1], &msg, MSG_CMSG_CLOEXEC);
    set(pair[1], SOL_SOCKET, SO_PASSCRED, int, 1);
    call(write, pair[0], "creds", 5);
    msg.msg_controllen = sizeof control;
    call(recvmsg, pair[1], &msg, MSG_PEEK);
    msg.msg_controllen = 4;
    call(recvmsg, pair[1], &msg, 0);
    call(recvmsg, pair[1], &msg, MSG_DONTWAIT);
    call(sendmsg, pair[0], BAD, 0);
    call(recvmsg, pair[0], BAD, 0);
    msg = (struct msghdr){0};
    call(sendmsg, pair[0], &msg, MSG_EOR | MSG_MORE);
    call(recvmsg, pair[1], &msg, MSG_TRUNC);
    struct mmsghdr many[3] = {{{.msg_iov = iov, .msg_iovlen = 1}, 0}, {{.msg_iov = iov + 1, .msg_iovlen = 1}, 0}, {{0}, 0}};
    call(sendmmsg, pair[0], many, 3, 0);
    struct mmsghdr got[4] = {{{.msg_iov = into, .msg_iovlen = 1}, 0}, {{.msg_iov = into + 1, .msg_iovlen = 1}, 0}};
    call(recvmmsg, pair[1], got, 3, MSG_DONTWAIT, NULL);
    call(recvmmsg, pair[1], got, 3, MSG_DONTWAIT, &(struct timespec){1, 0});
    call(sendto, pair[0], "datagram", 8L, MSG_DONTWAIT, NULL, 0);
    call(recvfrom, pair[1], buf, sizeof buf, 0, NULL, NULL);
    call(recvfrom, pair[1], buf, sizeof buf, MSG_DONTWAIT | MSG_PEEK, NULL, NULL);
    call(shutdown, pair[0], SHUT_WR);
    call(shutdown, pair[0], 9);

    // Unix names.
    struct sockaddr_un un = {AF_UNIX, "socket.name"};
    socklen_t len = sizeof un;
    int server = call(socket, AF_UNIX, SOCK_STREAM, 0);
    call(bind, server, &un, offsetof(struct sockaddr_un, sun_path) + 12);
    call(listen, server, 128);
    int client = call(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    call(connect, client, &un, (int)sizeof un);
    call(getsockname, server, &un, &len);
    len = 4;
    call(getsockname, server, &un, &len);
    len = sizeof un;
    call(accept, server, &un, &len);
    len = sizeof un;
    call(getpeername, client, &un, &len);
    memcpy(un.sun_path, "\0abstract\0name", 14);
    call(bind, client, &un, 16);
    call(connect, client, &un, 2);
    call(connect, client, &un, 200);
    memset(un.sun_path, 'p', sizeof un.sun_path);
    call(connect, client, &un, (int)sizeof un);
    get(client, SOL_SOCKET, SO_PEERCRED, 12);
    get(client, SOL_SOCKET, SO_DOMAIN, 4);

    // Internet.
    struct sockaddr_in in = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    server = call(socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    set(server, SOL_SOCKET, SO_REUSEADDR, int, 1);
    call(bind, server, &in, (int)sizeof in);
    call(listen, server, 5);
    len = sizeof in;
    call(getsockname, server, &in, &len);
    client = call(socket, AF_INET, SOCK_STREAM, IPPROTO_IP);
    call(connect, client, &in, (int)sizeof in);
    len = sizeof in;
    int accepted = call(accept4, server, &in, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    call(accept, server, NULL, NULL);
    call(sendto, client, "abc", 3L, MSG_NOSIGNAL | MSG_MORE, NULL, 0);
    call(recvfrom, accepted, buf, 10L, MSG_DONTWAIT, NULL, NULL);
    struct linger linger = {1, 0};
    call(setsockopt, client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    get(client, SOL_SOCKET, SO_LINGER, 8);
    set(client, SOL_SOCKET, SO_RCVTIMEO, struct timeval, {1, 500000});
    get(client, SOL_SOCKET, SO_SNDTIMEO, 16);
    set(client, SOL_SOCKET, SO_SNDBUF, int, 4096);
    get(client, SOL_SOCKET, SO_ERROR, 4);
    get(client, SOL_SOCKET, SO_TYPE, 4);
    get(client, SOL_SOCKET, SO_PROTOCOL, 4);
    get(client, SOL_SOCKET, SO_COOKIE, 4);
    get(client, SOL_SOCKET, SO_KEEPALIVE, 2);
    get(client, SOL_SOCKET, SO_BINDTODEVICE, 16);
    get(client, SOL_SOCKET, 999, 4);
    set(client, SOL_SOCKET, SO_PRIORITY, char, 3);
    set(client, SOL_SOCKET, SO_BINDTODEVICE, char, 0);
    set(client, SOL_TCP, TCP_NODELAY, int, 1);
    set(client, SOL_TCP, TCP_CORK, int, 0);
    set(client, SOL_TCP, TCP_KEEPIDLE, int, 30);
    set(client, SOL_TCP, TCP_USER_TIMEOUT, int, 1000);
    get(client, SOL_TCP, TCP_CONGESTION, 16);
    get(client, SOL_TCP, TCP_MAXSEG, 4);
    set(client, SOL_IP, IP_TOS, int, 0x10);
    get(client, SOL_IP, IP_TTL, 4);
    get(client, SOL_IP, IP_OPTIONS, 40);
    struct ip_mreq mreq = {{htonl(0xe0000101)}, {htonl(INADDR_LOOPBACK)}};
    call(setsockopt, server, SOL_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof mreq);
    call(setsockopt, server, 77, 5, &mreq, 4);
    call(setsockopt, server, SOL_SOCKET, SO_REUSEPORT, BAD, 4);
    call(setsockopt, server, SOL_SOCKET, SO_REUSEPORT, &mreq, -1);
    call(getsockopt, server, SOL_SOCKET, SO_REUSEPORT, BAD, BAD);
    int udp = call(socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    in = (struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    call(bind, udp, &in, (int)sizeof in);
    len = sizeof in;
    call(getsockname, udp, &in, &len);
    set(udp, SOL_IP, IP_PKTINFO, int, 1);
    set(udp, SOL_IP, IP_RECVTTL, int, 1);
    set(udp, SOL_SOCKET, SO_TIMESTAMP, int, 1);
    call(sendto, udp, "to me", 5L, MSG_CONFIRM, &in, (int)sizeof in);
    struct sockaddr_storage from;
    msg = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = into, .msg_iovlen = 1,
                          .msg_control = &control, .msg_controllen = sizeof control};
    call(recvmsg, udp, &msg, 0);
    call(sendto, udp, "to me", 5L, 0, &in, (int)sizeof in);
    len = sizeof from;
    call(recvfrom, udp, buf, sizeof buf, 0, &from, &len);
    len = sizeof from;
    call(recvfrom, udp, buf, sizeof buf, MSG_DONTWAIT, &from, &len);
    in.sin_port = 0;
    call(sendto, udp, "x", 1L, 0, &in, 3);

    struct sockaddr_in6 in6 = {AF_INET6, htons(9), htonl(7), IN6ADDR_LOOPBACK_INIT, 0};
    int six = call(socket, AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    set(six, SOL_IPV6, IPV6_V6ONLY, int, 1);
    set(six, SOL_IPV6, IPV6_RECVPKTINFO, int, 1);
    set(six, SOL_IPV6, IPV6_UNICAST_HOPS, int, 5);
    get(six, SOL_IPV6, IPV6_MTU_DISCOVER, 4);
    in6.sin6_port = 0;
    in6.sin6_flowinfo = 0;
    call(bind, six, &in6, (int)sizeof in6);
    len = sizeof in6;
    call(getsockname, six, &in6, &len);
    call(sendto, six, "six", 3L, 0, &in6, (int)sizeof in6);
    msg = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = into, .msg_iovlen = 1,
                          .msg_control = &control, .msg_controllen = sizeof control};
    call(recvmsg, six, &msg, 0);
    inet_pton(AF_INET6, "fe80::1:0:0:7", &in6.sin6_addr);
    in6.sin6_scope_id = 1;
    call(connect, client, &in6, (int)sizeof in6);
    inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr);
    in6.sin6_scope_id = 77;
    call(connect, client, &in6, (int)sizeof in6);

    // Netlink.
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
    int link = call(socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    call(bind, link, &nl, (int)sizeof nl);
    len = sizeof nl;
    call(getsockname, link, &nl, &len);
    set(link, SOL_NETLINK, NETLINK_EXT_ACK, int, 1);
    struct { struct nlmsghdr header; struct ifinfomsg info; } ask = {
        {sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_index = 1}};
    nl.nl_pid = 0;
    nl.nl_groups = 5;
    call(sendto, link, "", 0L, 0, &nl, (int)sizeof nl);
    call(socket, AF_NETLINK, SOCK_DGRAM, NETLINK_GENERIC);

    // Other families, and addresses that are none.
    struct sockaddr_ll ll = {AF_PACKET, htons(0x800), 1, 1, 0, 6, "\1\2\3\4\5\6"};
    call(bind, client, &ll, (int)sizeof ll);
    struct sockaddr_vm vm = {.svm_family = AF_VSOCK, .svm_cid = 2, .svm_port = 1234};
    call(connect, client, &vm, (int)sizeof vm);
    char raw[32] = {29, 0, 1, 2, 'x', 'y', 0, 0, 9};
    call(connect, client, raw, 16);
    raw[0] = 99;
    call(connect, client, raw, 32);
    call(connect, client, raw, 1);
    call(connect, client, raw, 0);
    call(connect, client, BAD, 16);
    call(connect, client, NULL, 16);
    in.sin_family = AF_UNSPEC;
    call(connect, client, &in, (int)sizeof in);
    call(socket, 99, 99, 99);
    call(socket, AF_INET, SOCK_RAW, IPPROTO_ICMP);
    call(socket, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    call(socket, AF_PACKET, SOCK_RAW, htons(3));
    call(socket, AF_VSOCK, SOCK_STREAM, 0);
    call(socket, AF_INET, SOCK_STREAM, 262);

    // ioctls.
    struct ifreq ifr = {.ifr_name = "lo"};
    call(ioctl, udp, SIOCGIFINDEX, &ifr);
    call(ioctl, udp, SIOCGIFFLAGS, &ifr);
    call(ioctl, udp, SIOCGIFMTU, &ifr);
    call(ioctl, udp, SIOCGIFADDR, &ifr);
    call(ioctl, udp, SIOCGIFNETMASK, &ifr);
    call(ioctl, udp, SIOCGIFHWADDR, &ifr);
    call(ioctl, udp, SIOCGIFTXQLEN, &ifr);
    ifr.ifr_ifindex = 1;
    call(ioctl, udp, SIOCGIFNAME, &ifr);
    strcpy(ifr.ifr_name, "none7");
    call(ioctl, udp, SIOCGIFFLAGS, &ifr);
    int n = 0;
    call(ioctl, client, FIONREAD, &n);
    call(ioctl, client, SIOCOUTQ, &n);
    call(ioctl, client, SIOCATMARK, &n);
    call(ioctl, client, FIONBIO, &n);
    struct ifreq list[8];
    struct ifconf conf = {.ifc_len = sizeof(struct ifreq), .ifc_req = list};
    call(ioctl, udp, SIOCGIFCONF, &conf);
    call(unlink, "socket.name");
    return 0;
}
