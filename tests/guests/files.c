/* Files: holes, copies inside the kernel, extended attributes, names, directories, big transfers. */
#include "guest.h"
#include <dirent.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static void holes(void)
{
    int fd = OK(open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0600));
    OK(ftruncate(fd, 64 << 20));
    EQ(OK(pwrite(fd, "data", 4, 16 << 20)), 4);
    EQ(OK(lseek(fd, 0, SEEK_DATA)), 16 << 20);
    EQ(OK(lseek(fd, 0, SEEK_HOLE)), 0);
    off_t hole = OK(lseek(fd, 16 << 20, SEEK_HOLE));
    CHECK(hole > 16 << 20 && hole < 17 << 20);
    ERR(lseek(fd, hole, SEEK_DATA), ENXIO);
    ERR(lseek(fd, 64 << 20, SEEK_HOLE), ENXIO);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 64 << 20);
    CHECK(st.st_blocks < 1000);
    char page[4096];
    EQ(OK(pread(fd, page, sizeof page, 1 << 20)), 4096);
    for (int i = 0; i < 4096; i++)
        EQ(page[i], 0);
    OK(fallocate(fd, 0, 0, 1 << 20));
    EQ(OK(lseek(fd, 0, SEEK_END)), 64 << 20);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 << 20, 1 << 20));
    EQ(OK(pread(fd, page, 4, 16 << 20)), 4);
    EQ(page[0], 0);
    OK(close(fd));
    OK(unlink("sparse"));
    ok("sparse files");
}

enum { SIZE = 3 << 20 };
static unsigned char content[SIZE], copy[SIZE];

static void copies(void)
{
    fill(content, SIZE, 17);
    int a = OK(open("a", O_RDWR | O_CREAT | O_TRUNC, 0600)), b = OK(open("b", O_RDWR | O_CREAT | O_TRUNC, 0600));
    write_all(a, content, SIZE);
    off_t from = 100;
    for (size_t done = 0; done < SIZE - 100;)
        done += (size_t)OK(sendfile(b, a, &from, SIZE));
    EQ(from, SIZE);
    EQ(OK(pread(b, copy, SIZE, 0)), SIZE - 100);
    CHECK(memcmp(copy, content + 100, SIZE - 100) == 0);
    ok("sendfile");

    OK(ftruncate(b, 0));
    loff_t in = 0, out = 0;
    while (in < SIZE)
        CHECK(OK(copy_file_range(a, &in, b, &out, SIZE, 0)) > 0);
    EQ(OK(pread(b, copy, SIZE, 0)), SIZE);
    CHECK(memcmp(copy, content, SIZE) == 0);
    EQ(OK(copy_file_range(a, &in, b, &out, SIZE, 0)), 0);
    ok("copy_file_range");

    int p[2], q[2];
    OK(pipe(p));
    OK(pipe(q));
    memset(copy, 0, SIZE);
    in = 0;
    size_t got = 0;
    while (in < SIZE) {
        ssize_t n = OK(splice(a, &in, p[1], NULL, 65536, SPLICE_F_MOVE));
        EQ(OK(tee(p[0], q[1], (size_t)n, 0)), n);
        read_all(p[0], copy + got, (size_t)n);
        got += (size_t)n;
        ssize_t left = n;
        while (left > 0)
            left -= OK(splice(q[0], NULL, b, NULL, (size_t)left, 0));
    }
    CHECK(memcmp(copy, content, SIZE) == 0);
    memset(copy, 0, SIZE);
    struct iovec v[2] = {{content, 1000}, {content + 1000, 2000}};
    EQ(OK(vmsplice(p[1], v, 2, 0)), 3000);
    read_all(p[0], copy, 3000);
    CHECK(memcmp(copy, content, 3000) == 0);
    ERR(splice(a, NULL, b, NULL, 10, 0), EINVAL);
    close(a);
    close(b);
    close(p[0]);
    close(p[1]);
    close(q[0]);
    close(q[1]);
    OK(unlink("b"));
    ok("splice, tee, vmsplice");
}

static void attributes(void)
{
    char value[64], list[256];
    OK(setxattr("a", "user.one", "first", 5, XATTR_CREATE));
    ERR(setxattr("a", "user.one", "x", 1, XATTR_CREATE), EEXIST);
    ERR(setxattr("a", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
    int fd = OK(open("a", O_RDONLY));
    OK(fsetxattr(fd, "user.two", "", 0, 0));
    EQ(OK(getxattr("a", "user.one", NULL, 0)), 5);
    ERR(getxattr("a", "user.one", value, 3), ERANGE);
    EQ(OK(fgetxattr(fd, "user.one", value, sizeof value)), 5);
    CHECK(memcmp(value, "first", 5) == 0);
    EQ(OK(lgetxattr("a", "user.two", value, sizeof value)), 0);
    ssize_t n = OK(listxattr("a", list, sizeof list));
    CHECK(n >= 18 && memmem(list, (size_t)n, "user.one", 9) && memmem(list, (size_t)n, "user.two", 9));
    OK(removexattr("a", "user.two"));
    ERR(getxattr("a", "user.two", value, sizeof value), ENODATA);
    ERR(setxattr("a", "nonsense.name", "x", 1, 0), EOPNOTSUPP);
    close(fd);
    OK(unlink("a"));
    ok("extended attributes");
}

static void names(void)
{
    char name[300], path[5000];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    int fd = OK(open(name, O_CREAT | O_WRONLY, 0600));
    close(fd);
    OK(unlink(name));
    name[255] = 'n';
    name[256] = 0;
    ERR(open(name, O_CREAT | O_WRONLY, 0600), ENAMETOOLONG);
    memset(path, '/', sizeof path);
    memcpy(path + 4094, "/", 2);
    OK(access(path, F_OK));
    memcpy(path + 4095, "/", 2);
    ERR(access(path, F_OK), ENAMETOOLONG);
    /* Deeper than a path can say. */
    name[100] = 0;
    int start = OK(open(".", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 50; i++) {
        OK(mkdir(name, 0700));
        OK(chdir(name));
    }
    static char cwd[8192];
    errno = 0;
    CHECK(syscall(SYS_getcwd, cwd, sizeof cwd) > 5000 || errno == ENAMETOOLONG);
    fd = OK(open("deep", O_CREAT | O_RDWR, 0640));
    write_all(fd, "x", 1);
    close(fd);
    OK(unlink("deep"));
    for (int i = 0; i < 50; i++) {
        OK(chdir(".."));
        OK(rmdir(name));
    }
    OK(fchdir(start));
    close(start);
    ERR(open("", O_RDONLY), ENOENT);
    OK(mkdir("d", 0700));
    ERR(rmdir("."), EINVAL);
    ERR(mkdir("d", 0700), EEXIST);
    ERR(open("d", O_WRONLY), EISDIR);
    ERR(unlink("d"), EISDIR);
    OK(symlink("d", "s"));
    ERR(open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
    char target[8] = {0};
    EQ(OK(readlink("s", target, sizeof target)), 1);
    ERR(readlink("d", target, sizeof target), EINVAL);
    fd = OK(open("d", O_RDONLY | O_DIRECTORY));
    int f = OK(openat(fd, "in", O_CREAT | O_EXCL | O_WRONLY, 0644));
    ERR(openat(fd, "in", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    OK(linkat(fd, "in", AT_FDCWD, "hard", 0));
    struct stat st, other;
    OK(fstatat(fd, "in", &st, 0));
    OK(stat("hard", &other));
    EQ(st.st_ino, other.st_ino);
    EQ(st.st_nlink, 2);
    OK(syscall(SYS_renameat2, fd, "in", AT_FDCWD, "hard2", RENAME_NOREPLACE));
    ERR(syscall(SYS_renameat2, AT_FDCWD, "hard", AT_FDCWD, "d", RENAME_NOREPLACE), EEXIST);
    OK(syscall(SYS_renameat2, AT_FDCWD, "d", AT_FDCWD, "hard2", RENAME_EXCHANGE));
    OK(stat("d", &st));
    CHECK(S_ISREG(st.st_mode));
    struct timespec times[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
    OK(utimensat(AT_FDCWD, "d", times, 0));
    struct statx stx;
    OK(statx(AT_FDCWD, "d", 0, STATX_BASIC_STATS, &stx));
    EQ(stx.stx_mtime.tv_sec, 1000000002);
    EQ(stx.stx_mtime.tv_nsec, 987654321);
    EQ(stx.stx_atime.tv_nsec, 123456789);
    OK(chmod("d", 0406));
    OK(stat("d", &st));
    EQ(st.st_mode & 07777, 0406);
    umask(027);
    OK(mkfifo("fifo", 0666));
    OK(stat("fifo", &st));
    EQ(st.st_mode, S_IFIFO | 0640);
    close(f);
    close(fd);
    OK(unlink("d"));
    OK(unlink("hard"));
    OK(rmdir("hard2"));
    OK(unlink("s"));
    OK(unlink("fifo"));
    fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
    write_all(fd, "tmpfile", 7);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    OK(linkat(AT_FDCWD, link, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
    close(fd);
    OK(stat("linked", &st));
    EQ(st.st_size, 7);
    OK(unlink("linked"));
    struct statfs fs;
    OK(statfs(".", &fs));
    CHECK(fs.f_bsize > 0);
    ok("names, links, modes and times");
}

static void directories(void)
{
    OK(mkdir("many", 0700));
    OK(chdir("many"));
    char name[32];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "entry-%04d", i);
        close(OK(open(name, O_CREAT | O_WRONLY, 0600)));
    }
    DIR *dir = opendir(".");
    CHECK(dir);
    int seen = 0, sum = 0, dots = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') {
            dots++;
            continue;
        }
        CHECK(e->d_type == DT_REG || e->d_type == DT_UNKNOWN);
        seen++;
        sum += atoi(e->d_name + 6);
    }
    EQ(seen, 2000);
    EQ(dots, 2);
    EQ(sum, 2000 * 1999 / 2);
    rewinddir(dir);
    /* Removing what is listed while it is listed. */
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            OK(unlink(e->d_name));
    closedir(dir);
    OK(chdir(".."));
    OK(rmdir("many"));
    int fd = OK(open(".", O_RDONLY | O_DIRECTORY));
    char tiny[8];
    ERR(syscall(SYS_getdents64, fd, tiny, sizeof tiny), EINVAL);
    close(fd);
    ok("a directory of 2,000 entries");
}

static void transfers(void)
{
    size_t size = 4 << 20;
    unsigned char *big = malloc(size), *back = malloc(size);
    fill(big, size, 5);
    int fd = OK(open("big", O_RDWR | O_CREAT | O_TRUNC, 0600));
    EQ(OK(write(fd, big, size)), (ssize_t)size);
    EQ(OK(lseek(fd, 0, SEEK_SET)), 0);
    EQ(OK(read(fd, back, size)), (ssize_t)size);
    CHECK(memcmp(big, back, size) == 0);
    EQ(OK(read(fd, back, size)), 0);
    memset(back, 0, size);
    EQ(OK(pread(fd, back, size, 1000)), (ssize_t)size - 1000);
    CHECK(memcmp(big + 1000, back, size - 1000) == 0);
    ok("reads and writes of 4 MiB");

    enum { N = 64 };
    struct iovec v[N];
    for (int i = 0; i < N; i++)
        v[i] = (struct iovec){big + i * 1000, i % 7 ? 1000 : 0};
    ssize_t want = 0;
    for (int i = 0; i < N; i++)
        want += (ssize_t)v[i].iov_len;
    OK(ftruncate(fd, 0));
    EQ(OK(pwritev(fd, v, N, 0)), want);
    memset(back, 0, size);
    for (int i = 0; i < N; i++)
        v[i].iov_base = back + i * 1000;
    EQ(OK(preadv(fd, v, N, 0)), want);
    for (int i = 0; i < N; i++)
        CHECK(memcmp(v[i].iov_base, big + i * 1000, v[i].iov_len) == 0);
    EQ(OK(lseek(fd, 0, SEEK_SET)), 0);
    EQ(OK(readv(fd, v, N)), want);
    EQ(OK(writev(fd, v, N)), want);
    EQ(OK(preadv2(fd, v, 1, -1, 0)), 0);
    ERR(syscall(SYS_readv, fd, v, -1L), EINVAL);
    ERR(syscall(SYS_writev, fd, v, 1025L), EINVAL);
    OK(fsync(fd));
    OK(fdatasync(fd));
    OK(fcntl(fd, F_SETFL, O_APPEND));
    EQ(OK(pwrite(fd, "end", 3, 0)), 3);
    EQ(OK(lseek(fd, 0, SEEK_END)), 2 * want + 3);
    OK(ftruncate(fd, 5));
    EQ(OK(lseek(fd, 0, SEEK_END)), 5);
    ERR(lseek(fd, -1, SEEK_SET), EINVAL);
    close(fd);
    ERR(read(fd, back, 1), EBADF);
    ERR(truncate("big", -1), EINVAL);
    OK(unlink("big"));
    free(big);
    free(back);
    ok("vectors, O_APPEND, truncation");
}

static void fd_flags(void)
{
    int fd = OK(open("/dev/null", O_RDWR | O_CLOEXEC));
    int copy_fd = OK(dup(fd));
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQ(fcntl(copy_fd, F_GETFD), 0);
    EQ(OK(fcntl(fd, F_DUPFD_CLOEXEC, 100)), 100);
    EQ(OK(dup2(fd, fd)), fd);
    ERR(dup3(fd, fd, 0), EINVAL);
    ERR(dup2(fd, -1), EBADF);
    OK(syscall(SYS_close_range, 90, 110, 0));
    ERR(fcntl(100, F_GETFD), EBADF);
    EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    close(fd);
    close(copy_fd);
    EQ(OK(open("/dev/null", O_RDONLY)), fd);
    char byte = 1;
    ERR(write(fd, &byte, 1), EBADF);
    int zero = OK(open("/dev/zero", O_RDONLY));
    read_all(zero, &byte, 1);
    EQ(byte, 0);
    struct stat st;
    OK(fstat(zero, &st));
    EQ(major(st.st_rdev), 1);
    EQ(minor(st.st_rdev), 5);
    close(zero);
    close(fd);
    fd = OK(open("/dev/full", O_WRONLY));
    ERR(write(fd, &byte, 1), ENOSPC);
    close(fd);
    ok("descriptors");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    holes();
    copies();
    attributes();
    names();
    directories();
    transfers();
    fd_flags();
    return 0;
}
