# perl: processes, signals, sockets, files, times, regular expressions.
# packages: perl
source "${0%/*}/checks.bash"
perl -w <<'PERL'
use strict; use POSIX qw(:sys_wait_h :signal_h setsid); use Socket; use IO::Select; use IO::Handle; use Fcntl qw(:flock :DEFAULT);
use Time::HiRes qw(time sleep alarm); use IPC::Open3; use File::Temp qw(tempfile tempdir); use Storable; use Digest::SHA;
$| = 1;
sub same { my ($name, $want, $got) = @_; $got //= 'undef'; print $want eq $got ? "ok $name\n" : "FAIL $name: got '$got', wanted '$want'\n"; }
sub between { my ($name, $least, $most, $got) = @_; print $got >= $least && $got <= $most ? "ok $name\n" : "FAIL $name: $got\n"; }

my $pid = fork; if (!$pid) { POSIX::_exit(7); } waitpid $pid, 0; same("fork and waitpid", 7 << 8, $?);
$pid = fork; if (!$pid) { kill 'KILL', $$; sleep 5; } waitpid $pid, 0; same("killed child", 9, $?);
same("waitpid without children", -1, waitpid(-1, WNOHANG)); same("ECHILD", POSIX::ECHILD, $! + 0);
my %left; for my $i (1 .. 30) { my $p = fork; if (!$p) { POSIX::_exit($i) } $left{$p} = $i; }
my $sum = 0; while ((my $p = wait) > 0) { $sum += $? >> 8; die unless delete $left{$p}; } same("thirty children", 465, $sum);
my $reaped = 0; $SIG{CHLD} = sub { while ((my $p = waitpid -1, WNOHANG) > 0) { $reaped++ } };
for (1 .. 10) { my $p = fork; if (!$p) { POSIX::_exit(0) } } my $until = time + 20; sleep 0.02 while $reaped < 10 && time < $until;
same("SIGCHLD reaps", 10, $reaped); $SIG{CHLD} = 'IGNORE';
$pid = fork; if (!$pid) { POSIX::_exit(1) } same("SIGCHLD ignored", -1, waitpid($pid, 0)); $SIG{CHLD} = 'DEFAULT';

my $rang = 0; eval { local $SIG{ALRM} = sub { $rang = 1; die "alarm\n" }; alarm 0.1; select undef, undef, undef, 10; }; same("alarm ends select", "alarm\n", $@);
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 0.1; 1 while 1; }; same("alarm ends a loop", "alarm\n", $@);
my $start = time; select undef, undef, undef, 0.1; between("select sleeps", 0.1, 2, time - $start);
my $set = POSIX::SigSet->new(SIGUSR1); my $usr = 0; $SIG{USR1} = sub { $usr++ };
sigprocmask(SIG_BLOCK, $set); kill USR1 => $$; same("blocked", 0, $usr);
my $pending = POSIX::SigSet->new; POSIX::sigpending($pending); same("pending", 1, $pending->ismember(SIGUSR1)); sigprocmask(SIG_UNBLOCK, $set); same("unblocked", 1, $usr);
sigprocmask(SIG_BLOCK, $set); kill USR1 => $$; POSIX::sigsuspend(POSIX::SigSet->new); same("sigsuspend", 2, $usr); sigprocmask(SIG_UNBLOCK, $set);

pipe my $r, my $w; $pid = fork; if (!$pid) { close $r; print $w "x" x 300000; close $w; POSIX::_exit(0) } close $w;
my $all = do { local $/; <$r> }; waitpid $pid, 0; same("a pipe", 300000, length $all);
socketpair my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC; syswrite $one, "ping"; sysread $two, my $buf, 10; same("socketpair", "ping", $buf);
socket my $server, PF_INET, SOCK_STREAM, 0; setsockopt $server, SOL_SOCKET, SO_REUSEADDR, 1; bind $server, sockaddr_in(0, INADDR_LOOPBACK); listen $server, 5;
my ($port) = sockaddr_in getsockname $server;
$pid = fork; if (!$pid) { for (1 .. 5) { accept my $c, $server; while (sysread $c, my $d, 4096) { syswrite $c, uc $d } close $c } POSIX::_exit(0) }
my $good = 0; for (1 .. 5) { socket my $c, PF_INET, SOCK_STREAM, 0; connect $c, sockaddr_in($port, INADDR_LOOPBACK); syswrite $c, "hello"; sysread $c, my $d, 5; $good++ if $d eq 'HELLO'; close $c }
waitpid $pid, 0; same("a TCP server", 5, $good);
my $select = IO::Select->new($two); same("select, nothing", 0, scalar(my @none = $select->can_read(0.05))); syswrite $one, "x"; same("select, ready", 1, scalar(my @ready = $select->can_read(1)));

my ($in, $out); $pid = open3($in, $out, my $err = IO::Handle->new, 'cat; echo problem >&2'); print $in "text\n"; close $in;
same("open3", "text\n", scalar <$out>); waitpid $pid, 0; same("system", 3 << 8, system 'sh', '-c', 'exit 3'); same("backticks", "b\n", `echo b`);
same("exec fails", -1, system { '/no/such' } 'such'); open my $p, '-|', 'seq 1000' or die; my @l = <$p>; close $p; same("a command's output", 1000, scalar @l);
open my $file, '+>', 'file'; flock $file, LOCK_EX; $pid = fork; if (!$pid) { open my $o, '<', 'file'; POSIX::_exit(flock($o, LOCK_EX | LOCK_NB) ? 1 : 0) } waitpid $pid, 0; same("flock", 0, $?);
print $file join("\n", 1 .. 5000); seek $file, 0, 0; my $n = () = <$file>; same("lines", 5000, $n); truncate $file, 10; close $file; same("truncate", 10, -s 'file');
utime 1000000000, 1000000001, 'file'; my @st = stat 'file'; same("utime", "1000000000 1000000001", "$st[8] $st[9]");
mkdir 'dir'; symlink 'file', 'link'; link 'file', 'hard'; opendir my $d, '.'; my %names = map { $_ => 1 } readdir $d; same("readdir", 4, scalar grep { $names{$_} } qw(file dir link hard)); same("readlink", 'file', readlink 'link'); same("links", 2, (stat 'file')[3]);
rename 'file', 'other'; same("rename", 1, -e 'other' ? 1 : 0); unlink 'other', 'hard', 'link'; rmdir 'dir';

my $x = 0; $x += sqrt $_ for 1 .. 2_000_000; my ($user, $system, $cu, $cs) = times; between("times", 0.01, 60, $user);
$pid = fork; if (!$pid) { my $y = 0; $y += sqrt $_ for 1 .. 2_000_000; POSIX::_exit(0) } waitpid $pid, 0; (undef, undef, $cu) = times; between("times of children", 0.01, 60, $cu);
same("Digest::SHA", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", Digest::SHA::sha256_hex("abc"));
my $text = join ' ', map { $_ * 7919 % 10007 } 1 .. 200000; my $count = () = $text =~ /\b(\d)\d*\1\b/g; print "ok regular expressions $count\n";
my %h; $h{$_ % 1000} .= $_ for 1 .. 200000; print "ok a hash ", Digest::SHA::sha1_hex(join ',', map { $h{$_} } sort { $a <=> $b } keys %h), "\n";
my @sorted = sort { $a <=> $b } map { ($_ * 1103515245 + 12345) % 2147483648 } 1 .. 100000; print "ok sort ", Digest::SHA::sha1_hex("@sorted"), "\n";
store { map { $_ => [1 .. $_] } 1 .. 100 }, 'stored'; same("Storable", 5050, do { my $s = 0; $s += @$_ for values %{retrieve 'stored'}; $s });
$0 = 'renamed'; open my $cmd, '<', "/proc/$$/cmdline"; same("a new name", 'renamed', do { my $c = <$cmd>; $c =~ s/\0.*//s; $c });
same("getppid", getppid, (split ' ', (split /\)/, do { open my $s, '<', "/proc/$$/stat"; <$s> })[-1])[1]);
$pid = fork; if (!$pid) { setsid; POSIX::_exit(getpgrp == $$ ? 0 : 1) } waitpid $pid, 0; same("setsid", 0, $?);
PERL
exit $?
