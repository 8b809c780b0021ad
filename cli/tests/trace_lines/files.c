// Files, directories, attributes, locks, moving data.
#include "guest.h"
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

int main(void) {
    char buf[4096];
    signal(SIGIO, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    call(write, fd, "one\ttwo\n\r\"\\\001\0379\200", 16);
    call(write, fd, "0123456789abcdef0123456789abcdef0123456789", 42);
    call(pwrite64, fd, "x", 1, 100);
    call(lseek, fd, 0, SEEK_SET);
    call(lseek, fd, -5, SEEK_END);
    call(lseek, fd, 10, SEEK_CUR);
    call(lseek, fd, 0, SEEK_DATA);
    call(lseek, fd, 0, SEEK_HOLE);
    call(lseek, fd, 0, 77);
    call(pread64, fd, buf, sizeof buf, 0);
    call(read, fd, buf, 0);
    call(read, fd, BAD, 10);
    call(write, fd, BAD, 10);
    struct iovec iov[3] = {{"ab", 2}, {"cdefghijklmnopqrstuvwxyz0123456789ABCDEF", 40}, {NULL, 0}};
    call(writev, fd, iov, 3);
    call(pwritev, fd, iov, 2, 7L, 0L);
    call(pwritev2, fd, iov, 2, 7L, 0L, RWF_DSYNC);
    struct iovec into[2] = {{buf, 5}, {buf + 100, 50}};
    call(preadv, fd, into, 2, 3L, 0L);
    call(preadv2, fd, into, 2, -1L, 0L, RWF_NOWAIT | RWF_HIPRI);
    call(lseek, fd, 0, SEEK_SET);
    call(readv, fd, into, 2);
    call(readv, fd, into, 0);
    call(readv, fd, BAD, 2);
    call(readv, -1, into, 2);
    call(ftruncate, fd, 5000L);
    call(truncate, "data", 4000L);
    call(fallocate, fd, 0, 0L, 8192L);
    call(fallocate, fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0L, 4096L);
    call(fadvise64, fd, 0L, 0L, POSIX_FADV_SEQUENTIAL);
    call(readahead, fd, 0L, 4096L);
    call(sync_file_range, fd, 0L, 100L, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    call(fsync, fd);
    call(fdatasync, fd);

    // open
    struct open_how how = {.flags = O_RDONLY | O_NOFOLLOW, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    call(openat2, AT_FDCWD, "data", &how, sizeof how);
    how.flags = O_WRONLY | O_CREAT;
    how.mode = 0600;
    call(openat2, AT_FDCWD, "data2", &how, sizeof how);
    call(openat2, AT_FDCWD, "data", &how, 8);
    call(openat2, AT_FDCWD, "data", BAD, sizeof how);
    call(open, "none", O_RDONLY | O_DIRECTORY | O_PATH);
    call(openat, AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600);
    call(openat, AT_FDCWD, BAD, O_RDONLY);
    call(openat, AT_FDCWD, NULL, O_RDONLY);
    call(openat, 99, "data", O_ACCMODE | O_SYNC | O_NOCTTY | O_NOATIME | O_DIRECT);
    call(creat, "created", 0644);
    call(close, 77);
    call(dup, fd);
    call(dup2, fd, 40);
    call(dup3, fd, 41, O_CLOEXEC);
    call(dup3, fd, fd, 0);
    call(close_range, 40, 41, 0);
    call(close_range, 42, ~0U, 4);

    // names
    call(mkdir, "dir", 0755);
    call(mkdirat, AT_FDCWD, "dir/sub", 01777);
    call(rename, "created", "dir/renamed");
    call(renameat, AT_FDCWD, "dir/renamed", AT_FDCWD, "dir/again");
    call(renameat2, AT_FDCWD, "dir/again", AT_FDCWD, "data", 1);
    call(renameat2, AT_FDCWD, "dir/again", AT_FDCWD, "data2", 2);
    call(link, "data", "hard");
    call(linkat, AT_FDCWD, "data", AT_FDCWD, "harder", AT_SYMLINK_FOLLOW);
    call(symlink, "data", "soft");
    call(symlinkat, "nowhere", AT_FDCWD, "softer");
    call(readlink, "soft", buf, sizeof buf);
    call(readlinkat, AT_FDCWD, "softer", buf, 3);
    call(readlink, "data", buf, sizeof buf);
    call(unlink, "hard");
    call(unlinkat, AT_FDCWD, "harder", 0);
    call(unlinkat, AT_FDCWD, "dir/sub", AT_REMOVEDIR);
    call(rmdir, "dir");
    call(mknod, "fifo", S_IFIFO | 0600, 0);
    call(mknodat, AT_FDCWD, "null", S_IFCHR | 0666, 0x103);
    call(mknod, "plain", S_ISUID | 0644, 0);

    // attributes
    struct stat st;
    call(stat, "data", &st);
    call(lstat, "soft", &st);
    call(fstat, fd, &st);
    call(fstat, 99, &st);
    call(stat, "/dev/null", &st);
    call(stat, "data", BAD);
    call(newfstatat, AT_FDCWD, "fifo", &st, AT_SYMLINK_NOFOLLOW);
    call(newfstatat, fd, "", &st, AT_EMPTY_PATH);
    char stx[256];
    call(statx, AT_FDCWD, "data", AT_STATX_SYNC_AS_STAT | AT_SYMLINK_NOFOLLOW, 0xfffU, stx);
    call(statx, AT_FDCWD, "/", AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 3U, stx);
    call(statx, AT_FDCWD, "none", AT_STATX_FORCE_SYNC, 0x1fffU, stx);
    call(statx, fd, "", AT_EMPTY_PATH, 0x107fU, stx);
    struct statfs sfs;
    call(statfs, "/proc", &sfs);
    call(fstatfs, fd, &sfs);
    call(statfs, "/none", &sfs);
    call(access, "data", R_OK | W_OK);
    call(access, "data", F_OK);
    call(faccessat, AT_FDCWD, "data", X_OK);
    call(faccessat2, AT_FDCWD, "data", R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW);
    call(chmod, "data", 04755);
    call(fchmod, fd, 0600);
    call(fchmodat, AT_FDCWD, "data", 0644);
    call(chown, "data", -1, -1);
    call(fchown, fd, 0, 0);
    call(lchown, "soft", 65534, -1);
    call(fchownat, AT_FDCWD, "soft", -1, 65534, AT_SYMLINK_NOFOLLOW);
    call(umask, 022);
    struct timespec times[2] = {{1700000000, 0}, {1600000001, 123000000}};
    call(utimensat, AT_FDCWD, "data", times, 0);
    call(utimensat, AT_FDCWD, "data", NULL, 0);
    times[0].tv_nsec = UTIME_NOW;
    times[1].tv_nsec = UTIME_OMIT;
    call(utimensat, fd, NULL, times, 0);
    call(utimensat, AT_FDCWD, "soft", times, AT_SYMLINK_NOFOLLOW);
    struct timeval tvs[2] = {{1, 2000}, {3, 4000}};
    call(utimes, "data", tvs);
    call(futimesat, AT_FDCWD, "data", tvs);
    struct utimbuf ub = {1500000000, 1400000000};
    call(utime, "data", &ub);
    call(setxattr, "data", "user.one", "value\0v", 7, XATTR_CREATE);
    call(lsetxattr, "data", "user.two", "", 0, 0);
    call(fsetxattr, fd, "user.one", "x", 1, XATTR_REPLACE);
    call(getxattr, "data", "user.one", buf, sizeof buf);
    call(lgetxattr, "data", "user.none", buf, sizeof buf);
    call(fgetxattr, fd, "user.one", buf, 0);
    call(listxattr, "data", buf, sizeof buf);
    call(llistxattr, "data", NULL, 0);
    call(flistxattr, fd, buf, 2);
    call(removexattr, "data", "user.two");
    call(lremovexattr, "data", "user.none");
    call(fremovexattr, fd, "user.one");

    // directories
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    call(getdents64, dir, buf, sizeof buf);
    call(getdents64, dir, buf, sizeof buf);
    call(getdents64, fd, buf, sizeof buf);
    call(chdir, "dir");
    call(fchdir, dir);
    call(getcwd, buf, sizeof buf);
    call(getcwd, buf, 1);
    call(chroot, "/none");
    call(sync);
    call(syncfs, fd);

    // fcntl, locks
    call(fcntl, fd, F_DUPFD, 50);
    call(fcntl, fd, F_DUPFD_CLOEXEC, 60);
    call(fcntl, fd, F_GETFD);
    call(fcntl, fd, F_SETFD, FD_CLOEXEC);
    call(fcntl, fd, F_SETFD, 0);
    call(fcntl, fd, F_GETFD);
    call(fcntl, fd, F_GETFL);
    call(fcntl, fd, F_SETFL, O_RDWR | O_APPEND | O_NONBLOCK);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 0};
    call(fcntl, fd, F_SETLK, &lock);
    call(fcntl, fd, F_GETLK, &lock);
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_END;
    lock.l_pid = 0;
    call(fcntl, fd, F_OFD_SETLK, &lock);
    call(fcntl, fd, F_OFD_GETLK, &lock);
    lock.l_type = F_UNLCK;
    call(fcntl, fd, F_SETLKW, &lock);
    call(fcntl, fd, F_SETLK, NULL);
    call(fcntl, fd, F_SETOWN, 0);
    call(fcntl, fd, F_GETOWN);
    call(fcntl, fd, F_SETSIG, SIGUSR1);
    call(fcntl, fd, F_GETSIG);
    struct f_owner_ex owner = {F_OWNER_TID, 0};
    call(fcntl, fd, F_SETOWN_EX, &owner);
    call(fcntl, fd, F_GETOWN_EX, &owner);
    call(fcntl, fd, F_SETLEASE, F_RDLCK);
    call(fcntl, fd, F_GETLEASE);
    call(fcntl, dir, F_NOTIFY, DN_ACCESS | DN_MULTISHOT);
    call(fcntl, fd, F_SETPIPE_SZ, 4096);
    uint64_t hint = 2;
    call(fcntl, fd, 1036, &hint);
    call(fcntl, fd, 9999, 5);
    call(flock, fd, LOCK_EX | LOCK_NB);
    call(flock, fd, LOCK_UN);
    int memory = call(memfd_create, "a name", 3U);
    call(fcntl, memory, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
    call(fcntl, memory, F_GET_SEALS);
    call(memfd_create, BAD, 0x100U);

    // moving data
    int pipes[2], more[2];
    call(pipe, pipes);
    call(pipe2, more, O_CLOEXEC | O_NONBLOCK);
    call(fcntl, more[0], F_GETPIPE_SZ);
    call(fcntl, fd, F_SETFL, O_RDWR);
    long at = 0, to = 9;
    call(lseek, fd, 0, SEEK_SET);
    call(splice, fd, &at, pipes[1], NULL, 20L, SPLICE_F_MOVE | SPLICE_F_MORE);
    call(tee, pipes[0], more[1], 10L, SPLICE_F_NONBLOCK);
    call(splice, pipes[0], NULL, memory, &to, 20L, 0);
    struct iovec page = {"from memory", 11};
    call(vmsplice, pipes[1], &page, 1L, SPLICE_F_GIFT);
    at = 2;
    call(sendfile, pipes[1], fd, &at, 30L);
    call(sendfile, pipes[1], fd, NULL, 5L);
    at = 0;
    call(copy_file_range, fd, &at, memory, NULL, 10L, 0);
    call(sendfile, pipes[1], 99, BAD, 30L);

    // watching
    int watch = call(inotify_init1, IN_CLOEXEC | IN_NONBLOCK);
    call(inotify_add_watch, watch, ".", IN_CREATE | IN_DELETE | IN_ONLYDIR);
    call(inotify_add_watch, watch, "none", IN_ALL_EVENTS);
    call(inotify_rm_watch, watch, 1);
    call(inotify_rm_watch, watch, 9);
    call(inotify_init);
    char handle[128] = {0};
    *(uint32_t *)handle = 100;
    int mount;
    call(name_to_handle_at, AT_FDCWD, "data", handle, &mount, 0);
    *(uint32_t *)handle = 0;
    call(name_to_handle_at, AT_FDCWD, "data", handle, &mount, AT_SYMLINK_FOLLOW);
    call(open_by_handle_at, 99, handle, O_RDONLY);

    // ioctls of files and descriptors
    int n = 1;
    call(ioctl, pipes[0], FIONREAD, &n);
    call(ioctl, pipes[0], FIONBIO, &n);
    call(ioctl, fd, FIOCLEX);
    call(ioctl, fd, FIGETBSZ, &n);
    long flags = 0;
    call(ioctl, fd, FS_IOC_GETFLAGS, &flags);
    call(ioctl, fd, FS_IOC_SETFLAGS, &flags);
    call(ioctl, fd, FICLONE, memory);
    call(ioctl, fd, 0x12345678, 5);
    call(ioctl, fd, 0xc0de, 0);
    call(ioctl, 99, 0x80045430, BAD);
    call(mount, "none", "/none", "tmpfs", 0x8006UL, "size=1m");
    call(umount2, "/none", 3);
    call(swapoff, "/none");
    call(pivot_root, "/none", "/none");
    call(acct, "/none");
    call(quotactl, 0x800002, "/dev/none", 0, buf);
    call(statx, 99, NULL, 0, 0, BAD);
    return 0;
}
