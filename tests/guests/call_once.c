/* No call is made twice: counters go through a pipe and a file while a 1 ms timer interrupts, and every byte is counted.
 * `call_once SECONDS`: the same for that long, while somebody outside freezes, stops, moves or signals this process.
 */
#include "guest.h"

static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
    (void)sig;
    ticks++;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int64_t end = now_ms() + (argc > 1 ? atoi(argv[1]) * 1000 : 700);
    for (int restart = 0; restart < 2; restart++) {
        int p[2], file = OK(open("counters", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600));
        OK(pipe(p));
        fflush(stdout);
        pid_t reader = OK(fork());
        if (reader == 0) {
            close(p[1]);
            uint64_t want = 0, got;
            for (;;) {
                size_t have = 0;
                ssize_t r = 1;
                while (have < sizeof got && (r = OK(read(p[0], (char *)&got + have, sizeof got - have))) > 0)
                    have += (size_t)r;
                if (r == 0) {
                    EQ(have, 0);
                    break;
                }
                EQ(got, want);
                want++;
            }
            CHECK(want > 0);
            _exit(0);
        }
        close(p[0]);
        set_handler(SIGALRM, on_tick, restart ? SA_RESTART : 0);
        struct itimerval it = {{0, 1000}, {0, 1000}};
        OK(setitimer(ITIMER_REAL, &it, NULL));
        uint64_t counter = 0;
        int64_t half = restart ? end : (now_ms() + end) / 2;
        while (now_ms() < half || counter == 0) {
            for (size_t done = 0; done < sizeof counter;) {
                ssize_t r = write(p[1], (char *)&counter + done, sizeof counter - done);
                if (r < 0 && errno == EINTR && !restart)
                    continue;
                CHECK(r > 0);
                done += (size_t)r;
            }
            EQ(OK(write(file, &counter, sizeof counter)), 8);
            counter++;
        }
        it = (struct itimerval){{0, 0}, {0, 0}};
        OK(setitimer(ITIMER_REAL, &it, NULL));
        close(p[1]);
        reap(reader, 0);
        EQ(lseek(file, 0, SEEK_END), (off_t)(counter * 8));
        for (uint64_t i = 0, got; i < counter; i++) {
            EQ(OK(pread(file, &got, 8, (off_t)(i * 8))), 8);
            EQ(got, i);
        }
        close(file);
        CHECK(ticks > 0);
        ok(restart ? "SA_RESTART" : "EINTR");
    }
    OK(unlink("counters"));
    return 0;
}
