//! The life of a session's process.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use remote::{Guest, Order, Priority, SessionError};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wire::{HANDSHAKE_TIMEOUT, Incoming, Link, LinkError};

use crate::daemon::Settings;
use crate::log;
use crate::talk::{End, FromSession, Taken, ToSession};

/// The code with which a link is closed when there are too many sessions.
const TOO_MANY: u32 = 2;

/// The session server as the session knows it.
struct Server {
    end: End,
    /// It has nothing more to say: it is gone, and this process is about to die.
    silent: bool,
    first: Option<Order>,
}

impl remote::Daemon for Server {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.silent).then(|| self.end.as_fd())
    }

    fn order(&mut self) -> Option<Order> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.end.take() {
            Taken::Message(ToSession::Doors(closed)) => Some(Order::Closed(closed)),
            Taken::Message(ToSession::Evict(pid, why)) => Some(Order::Evict(pid, why)),
            Taken::Message(ToSession::End(why)) => Some(Order::End(why)),
            Taken::Nothing => None,
            Taken::Gone => {
                self.silent = true;
                None
            }
        }
    }

    fn guests(&mut self, guests: &[Guest]) {
        let guests = guests.iter().map(|guest| (guest.pid, guest.host, guest.memory_mib)).collect();
        self.end.send(&FromSession::Guests(guests));
    }
}

/// Serves one peer and returns this process's exit status. `closed` says why no process may come, if so. With `refuse` the
/// peer is only told that there are too many sessions.
pub(crate) fn run(
    incoming: Incoming,
    mut end: End,
    closed: Option<String>,
    settings: &Settings,
    refuse: bool,
) -> u8 {
    let address = incoming.peer();
    let mut link = match establish(incoming, settings) {
        Ok(link) => link,
        Err(error) => {
            log::warn("session-refused", &[("address", &address), ("why", &error)]);
            return 1;
        }
    };
    let Some(peer) = link.peer().cloned() else { return 1 };
    end.send(&FromSession::Began(peer.clone(), link.peer_keys().to_vec()));
    let pid = std::process::id();
    if refuse {
        let most = settings.max_sessions;
        link.close(
            TOO_MANY,
            &format!("it has its {most} sessions (mosixd --max-sessions); try another node"),
        );
        log::warn("session-refused", &[("peer", &peer), ("address", &address), ("max", &most)]);
        return 1;
    }
    log::info("session-begins", &[("session", &pid), ("peer", &peer), ("address", &address)]);
    let since = Instant::now();
    let server = Server { end, silent: false, first: Some(Order::Closed(closed)) };
    if let Some(cores) = settings.cores {
        confine(cores);
    }
    let priority = Priority::Guest(settings.standing.clone());
    let ended = remote::serve(link, &settings.name, &settings.cache, priority, Box::new(server));
    let seconds = format!("{:.1}", since.elapsed().as_secs_f64());
    let how = match &ended {
        Ok(()) => "home said goodbye".to_owned(),
        Err(SessionError::Unfit(why)) => format!("refused: {why}"),
        Err(error) => error.to_string(),
    };
    log::info(
        "session-ends",
        &[("session", &pid), ("peer", &peer), ("address", &address), ("seconds", &seconds), ("why", &how)],
    );
    u8::from(ended.is_err())
}

fn establish(incoming: Incoming, settings: &Settings) -> Result<Link, LinkError> {
    let mut link = Link::serve(incoming, &settings.identity, Instant::now())?;
    link.wait_established(HANDSHAKE_TIMEOUT)?;
    Ok(link)
}

/// Confines this process, and the guests that it will have, to so many cores: the last ones, of which all sessions take
/// the same.
fn confine(cores: u16) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut lent = CpuSet::new();
    let all = (0..CpuSet::MAX_CPU).rev().filter(|core| allowed.is_set(*core));
    all.take(cores.into()).for_each(|core| lent.set(core));
    if let Err(errno) = sched_setaffinity(None, &lent) {
        log::warn("limits", &[("why", &format!("cannot confine guests to {cores} cores: {errno}"))]);
    }
}
