//! The tracing thread's own signals as a descriptor, and other processes' signal dispositions.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::Errno;

/// Some signals of the calling process, blocked and readable; see signalfd(2). ptrace stops and ends of tracees
/// arrive as SIGCHLD.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks `signals` for the calling thread and opens a non-blocking descriptor for them.
    pub fn open(signals: &[i32]) -> Result<Signals, Errno> {
        // SAFETY: an all-zero sigset_t is valid, and the calls below only write and read it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        for signal in signals {
            // SAFETY: `set` is a live sigset_t.
            unsafe { libc::sigaddset(&mut set, *signal) };
        }
        // SAFETY: `set` is a live sigset_t; the old mask is not wanted.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } != 0 {
            return Err(Errno::last());
        }
        // SAFETY: `set` is a live sigset_t.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: signalfd gave a fresh descriptor that nobody else owns.
        Ok(Signals(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes what has come, bit n-1 for signal n.
    pub fn take(&self) -> u64 {
        let mut seen = 0;
        // SAFETY: signalfd_siginfo is plain data for which all zeroes is valid.
        let mut batch: [libc::signalfd_siginfo; 4] = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: the buffer is live and of the given size.
            let got = unsafe {
                libc::read(self.0.as_raw_fd(), batch.as_mut_ptr().cast(), std::mem::size_of_val(&batch))
            };
            let count = usize::try_from(got).unwrap_or(0) / size_of::<libc::signalfd_siginfo>();
            for info in &batch[..count] {
                seen |= 1u64 << (info.ssi_signo.saturating_sub(1) & 63);
            }
            // Standard signals do not queue, so a batch that is not full has emptied it.
            if count < batch.len() {
                return seen;
            }
        }
    }
}

/// The word that a SIGCHLD changes while somebody waits for that.
static CHANGED_BY_CHILD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
static CHILD_CAME: AtomicBool = AtomicBool::new(false);

extern "C" fn on_child(_: libc::c_int) {
    let word = CHANGED_BY_CHILD.load(Ordering::SeqCst);
    if !word.is_null() {
        // SAFETY: it is set only while `with_child_signal` borrows the word.
        unsafe { (*word).fetch_add(1, Ordering::SeqCst) };
    }
    CHILD_CAME.store(true, Ordering::SeqCst);
}

/// Runs `wait`, a futex wait on `word`, with SIGCHLD unblocked. A SIGCHLD ends it whether it comes during the wait or just
/// before: it changes the word. Returns whether one came.
pub(crate) fn with_child_signal(word: &AtomicU32, wait: impl FnOnce()) -> bool {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: an all-zero sigaction is valid; the handler touches atomics alone.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_child as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());
        }
    });
    // SAFETY: an all-zero sigset_t is valid, and the calls below only write and read it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    CHANGED_BY_CHILD.store(std::ptr::from_ref(word).cast_mut(), Ordering::SeqCst);
    // SAFETY: `set` is a live sigset_t; the old mask is not wanted.
    unsafe {
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
    wait();
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    CHANGED_BY_CHILD.store(std::ptr::null_mut(), Ordering::SeqCst);
    CHILD_CAME.swap(false, Ordering::SeqCst)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a signal with its default action is discarded (SIGCHLD, SIGCONT, SIGURG, SIGWINCH); see signal(7).
/// SIGCONT's continuing has happened when it was sent.
pub fn discarded_by_default(signal: i32) -> bool {
    (1..=64).contains(&signal) && crate::signal::IGNORED_BY_DEFAULT & crate::signal::bit(signal) != 0
}

/// Whether the default action of a signal is to stop the process.
pub fn stops_by_default(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}
