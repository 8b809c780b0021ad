// A terminal of our own: both of its ends.
#include "guest.h"
#include <sys/ioctl.h>
#include <poll.h>
#include <termios.h>

int main(void) {
    char buf[256];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    int lock = 0, number, n;
    call(ioctl, master, TIOCGPTLCK, &lock);
    call(ioctl, master, TIOCGPTN, &number);
    int slave = call(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    struct winsize size = {24, 80, 640, 480};
    call(ioctl, master, TIOCSWINSZ, &size);
    call(ioctl, slave, TIOCGWINSZ, &size);
    char kernel_termios[64];
    call(ioctl, slave, TCGETS, kernel_termios);
    call(ioctl, slave, TCSETS, kernel_termios);
    call(ioctl, slave, TCSETSW, kernel_termios);
    call(ioctl, slave, TCSETSF, kernel_termios);
    call(ioctl, slave, 0x802c542a, kernel_termios);
    call(ioctl, slave, 0x402c542b, kernel_termios);
    call(ioctl, slave, TCGETA, kernel_termios);
    call(ioctl, slave, TCSETA, kernel_termios);
    struct termios t;
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSADRAIN, &t);
    t.c_cflag = CS5 | B50 | PARENB | PARODD | HUPCL;
    t.c_oflag = OPOST | ONLCR | TAB3 | CR2 | NL1 | VT1 | BS1 | FF1;
    t.c_lflag = ICANON | TOSTOP | ECHO;
    t.c_iflag = IXOFF | IUTF8 | IMAXBEL;
    tcsetattr(slave, TCSANOW, &t);
    call(write, master, "typed\n", 6);
    poll(&(struct pollfd){slave, POLLIN, 0}, 1, -1);
    call(ioctl, slave, FIONREAD, &n);
    call(ioctl, master, TIOCOUTQ, &n);
    call(read, slave, buf, sizeof buf);
    poll(&(struct pollfd){master, POLLIN, 0}, 1, -1);
    call(read, master, buf, sizeof buf);
    call(write, slave, "shown\n", 6);
    poll(&(struct pollfd){master, POLLIN, 0}, 1, -1);
    call(read, master, buf, sizeof buf);
    call(ioctl, slave, TCSBRK, 1);
    call(ioctl, slave, TCXONC, TCOOFF);
    call(ioctl, slave, TCXONC, TCOON);
    call(ioctl, slave, TCFLSH, TCIOFLUSH);
    call(ioctl, slave, TIOCGPGRP, &n);
    call(ioctl, slave, TIOCGSID, &n);
    call(ioctl, slave, TIOCGETD, &n);
    call(ioctl, slave, TIOCMGET, &n);
    call(ioctl, slave, TIOCEXCL);
    call(ioctl, slave, TIOCNXCL);
    call(ioctl, master, TIOCPKT, &lock);
    call(ioctl, master, TIOCSIG, SIGINT);
    call(ioctl, slave, TIOCSTI, "x");
    call(ioctl, slave, TIOCGSERIAL, buf);
    call(ioctl, slave, TCGETS, BAD);
    call(ioctl, slave, TIOCGWINSZ, NULL);
    // A session with it as its terminal.
    if (fork() == 0) {
        setsid();
        call(ioctl, slave, TIOCSCTTY, 0);
        _exit(0);
    }
    call(wait4, -1, &n, 0, NULL);
    setsid();
    call(ioctl, slave, TIOCSCTTY, 1);
    call(ioctl, slave, TIOCGPGRP, &n);
    n = getpid();
    call(ioctl, slave, TIOCSPGRP, &n);
    call(ioctl, slave, TIOCGSID, &n);
    signal(SIGHUP, SIG_IGN);
    call(ioctl, slave, TIOCNOTTY);
    call(vhangup);
    call(close, slave);
    call(read, master, buf, sizeof buf);
    isatty(master);
    isatty(0);
    ttyname(master);
    return 0;
}
