# Threads, subprocesses, signals.
import multiprocessing, os, resource, signal, subprocess, sys, threading, time

print(subprocess.run(["/bin/echo", "child"], stdout=subprocess.PIPE).stdout)
print(subprocess.run("exit 3", shell=True).returncode)
with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as cat:
    print(cat.communicate(b"through a pipe"))
try:
    subprocess.run(["/nonexistent"])
except FileNotFoundError as error:
    print(error)
os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, setsigmask=[signal.SIGUSR1]), 0)
pid = os.fork()
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
# If the first comes before the pause, there is a second.
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.3)
signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwait([signal.SIGUSR1]), signal.sigpending())
signal.set_wakeup_fd(-1)
signal.siginterrupt(signal.SIGALRM, False)
print(os.sched_getaffinity(0) != set(), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
os.getloadavg(), os.times(), os.getgroups(), os.uname().sysname, os.cpu_count(), os.getrandom(5)
fd = os.pidfd_open(os.getpid())
signal.pidfd_send_signal(fd, 0)
os.setpgid(0, 0)
lines = []
thread = threading.Thread(target=lines.append, args=("thread",))
thread.start()
thread.join()
time.sleep(0.01)
print(lines)
