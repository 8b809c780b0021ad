//! What the poll loop waits for.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{Timespec, epoll};

use super::NodeIndex;

/// Something that may become ready. Add a variant and its token for a new kind of descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The supervisor's signals: SIGCHLD for ptrace, SIGTERM.
    Signals,
    /// Somebody connects to the control socket.
    ControlListener,
    /// A connection on the control socket, by its number.
    ControlClient(u32),
    /// The daemon has said something.
    Daemon,
    /// The link to a node.
    Link(NodeIndex),
}

impl Source {
    /// Kind in the low 32 bits, number in the high ones.
    fn token(self) -> u64 {
        match self {
            Source::Signals => 0,
            Source::ControlListener => 1,
            Source::Daemon => 4,
            Source::Link(NodeIndex(node)) => 3 | u64::from(node) << 32,
            Source::ControlClient(client) => 2 | u64::from(client) << 32,
        }
    }

    fn of_token(token: u64) -> Option<Source> {
        let number = (token >> 32) as u32;
        match token as u32 {
            0 => Some(Source::Signals),
            1 => Some(Source::ControlListener),
            2 => Some(Source::ControlClient(number)),
            3 => Some(Source::Link(NodeIndex(number))),
            4 => Some(Source::Daemon),
            _ => None,
        }
    }
}

/// Taken from the kernel at once; more just stay ready.
const BATCH: usize = 16;

/// epoll(7), level-triggered, for reading.
#[derive(Debug)]
pub struct Events {
    epoll: std::os::fd::OwnedFd,
}

impl Events {
    /// An empty set.
    pub fn new() -> io::Result<Events> {
        Ok(Events { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Waits for `fd` to be readable (or closed) from now on. It leaves by itself when the last copy is closed.
    pub fn add(&mut self, fd: impl AsFd, source: Source) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(source.token()), epoll::EventFlags::IN)?)
    }

    /// No longer waits for `fd`.
    pub fn remove(&mut self, fd: impl AsFd) {
        // Fails only if it was not there.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something is ready or `deadline` has come, and appends what is ready.
    pub fn wait(&self, deadline: Option<Instant>, ready: &mut Vec<Source>) -> io::Result<()> {
        let timeout = deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            .and_then(|left| Timespec::try_from(left).ok());
        let mut batch =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
        let count = match epoll::wait(&self.epoll, &mut batch[..], timeout.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        ready.extend(batch[..count].iter().filter_map(|event| Source::of_token(event.data.u64())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_both_ways() {
        let link = Source::Link(NodeIndex(7));
        let control = [Source::ControlListener, Source::ControlClient(77)];
        for source in [Source::Signals, Source::Daemon, link].into_iter().chain(control) {
            assert_eq!(Source::of_token(source.token()), Some(source));
        }
    }
}
