//! The session server: it listens, makes a process for each session, sees to their ends, and carries word between them and
//! the agent.
//!
//! It is a process of its own because it forks, which one with a runtime's threads could not do safely. A session is a
//! process of its own: it traces its bodies from its only thread, its fault is its own, and its end ends all that it
//! holds. It ends with the session server too, and that with the agent, whatever their ends are (PR_SET_PDEATHSIG).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use remote::Standing;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tracee::signals::Signals;
use tracee::wait;
use tracee::{Event, Tid, launch, signal};
use wire::identity::{KeyId, Revoked, RevokedFile};
use wire::{Identity, Incoming, LinkError, Listener};

use crate::talk::{End, FromSession, Taken, ToAgent, ToServer, ToSession};
use crate::{log, session};

/// Sessions that are told that there are too many: processes above the limit, for a moment each. Peers beyond
/// that are not answered.
const MAX_REFUSING: usize = 16;

/// How long sessions may take to end by themselves when the daemon stops, or their home was removed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a home that was removed is told.
const REMOVED: &str = "this machine was removed from the cluster";

/// After an error of the listening socket, so that a lasting one does not fill the log.
const RETRY: Duration = Duration::from_millis(200);

/// What a session needs to know.
pub(crate) struct Settings {
    pub(crate) identity: Identity,
    /// Where it and the list of those who were removed from the cluster are.
    pub(crate) identity_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) cache: PathBuf,
    pub(crate) max_sessions: usize,
    /// What guests get.
    pub(crate) standing: Standing,
    /// Cores that sessions are confined to, if so many.
    pub(crate) cores: Option<u16>,
}

/// What only the session server holds; a session's process closes it.
struct Own {
    listener: Listener,
    signals: Signals,
    agent: End,
    sessions: HashMap<Tid, Running>,
}

/// A session's process.
struct Running {
    peer: SocketAddr,
    /// None when it has closed it: it is about to end.
    end: Option<End>,
    /// By which its peer may be revoked; none before it has shown its certificate.
    keys: Vec<KeyId>,
    /// It was told to end, and is killed then.
    kill_at: Option<Instant>,
}

pub(crate) struct Daemon {
    settings: Settings,
    revoked: RevokedFile,
    /// Why no process may come that is not here, if so.
    closed: Option<String>,
    /// None in a session's process.
    own: Option<Own>,
}

/// Binds the port for sessions.
pub(crate) fn listen(address: SocketAddr) -> Result<Listener> {
    Listener::bind(address).map_err(|error| match error {
        LinkError::Socket(_, rustix::io::Errno::ADDRINUSE) => {
            anyhow::anyhow!("{address} is in use: another mosixd runs there, or choose another --listen")
        }
        error => anyhow::anyhow!("cannot listen on {address}: {error}"),
    })
}

impl Daemon {
    pub(crate) fn new(listener: Listener, agent: End, settings: Settings) -> Result<Daemon> {
        // Those that end a daemon are the agent's to take, also if a terminal sends them to all of its processes.
        let wanted = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP].map(Signal::as_raw);
        let signals = Signals::open(&wanted).map_err(std::io::Error::from).context("signalfd")?;
        let own = Own { listener, signals, agent, sessions: HashMap::new() };
        let revoked = RevokedFile::open(&settings.identity_dir, &settings.identity)?;
        Ok(Daemon { settings, revoked, closed: None, own: Some(own) })
    }

    /// Serves until the agent says stop, or is gone.
    pub(crate) fn work(&mut self) -> Result<()> {
        while let Some(own) = &mut self.own {
            own.sleep()?;
            own.signals.take();
            own.hear_sessions(self.settings.identity.revoked());
            own.reap();
            own.kill_late(Instant::now());
            if !self.obey() {
                if let Some(own) = &mut self.own {
                    own.stop();
                }
                break;
            }
            self.accept();
        }
        Ok(())
    }

    /// Takes the agent's word. False: it is time to stop.
    fn obey(&mut self) -> bool {
        while let Some(own) = &mut self.own {
            match own.agent.take() {
                Taken::Message(ToServer::Doors { session: None, closed }) => {
                    for running in own.sessions.values_mut() {
                        running.tell(&ToSession::Doors(closed.clone()));
                    }
                    self.closed = closed;
                }
                Taken::Message(ToServer::Doors { session: Some(session), closed }) => {
                    own.tell(session, &ToSession::Doors(closed));
                }
                Taken::Message(ToServer::Evict { session, pid, why }) => {
                    own.tell(session, &ToSession::Evict(pid, why));
                }
                Taken::Message(ToServer::Lend { rank, cores }) => {
                    (self.settings.standing.rank, self.settings.cores) = (rank, cores);
                }
                Taken::Message(ToServer::Revoked) => {
                    // What cannot be read the agent says; the last list holds.
                    let _ = self.revoked.refresh();
                    own.end_revoked(self.settings.identity.revoked());
                }
                Taken::Message(ToServer::Stop) | Taken::Gone => return false,
                Taken::Nothing => return true,
            }
        }
        true
    }

    fn accept(&mut self) {
        while let Some(own) = &mut self.own {
            match own.listener.accept(Instant::now()) {
                Ok(Some(incoming)) => self.begin(incoming),
                Ok(None) => return,
                Err(error) => {
                    log::warn("session-not-taken", &[("why", &error)]);
                    return std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn begin(&mut self, incoming: Incoming) {
        let Some(running) = self.own.as_ref().map(|own| own.sessions.len()) else { return };
        // The agent writes what it hears. What cannot be read it says; the last list holds.
        let _ = self.revoked.refresh();
        let peer = incoming.peer();
        let most = self.settings.max_sessions;
        if running >= most + MAX_REFUSING {
            return log::warn("session-refused", &[("address", &peer), ("open", &running), ("max", &most)]);
        }
        let (end, theirs) = match End::pair() {
            Ok(ends) => ends,
            Err(error) => return log::warn("session-not-taken", &[("address", &peer), ("why", &error)]),
        };
        // In the parent, fork drops what the child takes along.
        let forked = launch::fork(|| {
            self.own = None;
            session::run(incoming, theirs, self.closed.take(), &self.settings, running >= most)
        });
        let Some(own) = &mut self.own else { return };
        match forked {
            Ok(pid) => {
                own.sessions.insert(pid, Running { peer, end: Some(end), keys: Vec::new(), kill_at: None });
            }
            Err(errno) => log::warn("session-not-taken", &[("address", &peer), ("why", &errno)]),
        }
    }
}

impl Running {
    fn tell(&mut self, message: &ToSession) {
        if let Some(end) = &mut self.end {
            end.send(message);
        }
    }
}

impl Running {
    fn end_if_revoked(&mut self, revoked: &Revoked) {
        if self.kill_at.is_none() && revoked.has_any(&self.keys) {
            self.tell(&ToSession::End(REMOVED.into()));
            self.kill_at = Some(Instant::now() + STOP_TIMEOUT);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

impl Own {
    /// Until something is there to do.
    fn sleep(&mut self) -> Result<()> {
        let flags =
            |end: &End| if end.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.listener.fd(), PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.agent.as_fd(), flags(&self.agent)),
        ];
        let ends = self.sessions.values().filter_map(|session| session.end.as_ref());
        fds.extend(ends.map(|end| PollFd::from_borrowed_fd(end.as_fd(), flags(end))));
        let kill_at = self.sessions.values().filter_map(|session| session.kill_at).min();
        let timeout = kill_at.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        self.agent.flush();
        self.sessions.values_mut().filter_map(|session| session.end.as_mut()).for_each(End::flush);
        Ok(())
    }

    fn tell(&mut self, session: Tid, message: &ToSession) {
        // It may have ended meanwhile.
        if let Some(running) = self.sessions.get_mut(&session) {
            running.tell(message);
        }
    }

    /// Ends sessions whose homes, or whose users' machines, are no longer of the cluster.
    fn end_revoked(&mut self, revoked: &Revoked) {
        for running in self.sessions.values_mut() {
            running.end_if_revoked(revoked);
        }
    }

    fn kill_late(&mut self, now: Instant) {
        for (pid, running) in &mut self.sessions {
            if running.kill_at.is_some_and(|at| at <= now) {
                running.kill_at = None;
                // Until it is reaped, its pid is nobody else's.
                signal::kill(*pid, Signal::KILL.as_raw()).ok();
            }
        }
    }

    fn hear_sessions(&mut self, revoked: &Revoked) {
        for (pid, running) in &mut self.sessions {
            while let Some(end) = &mut running.end {
                match end.take() {
                    Taken::Message(FromSession::Began(peer, keys)) => {
                        // Who has shown a certificate no longer counts as a stranger.
                        self.listener.settled(running.peer);
                        running.keys = keys;
                        self.agent.send(&ToAgent::Began { session: *pid, peer });
                        // The list may have changed since the session's process was made, which has its own copy.
                        running.end_if_revoked(revoked);
                        continue;
                    }
                    Taken::Message(FromSession::Guests(guests)) => {
                        self.agent.send(&ToAgent::Guests { session: *pid, guests });
                    }
                    Taken::Nothing => break,
                    Taken::Gone => running.end = None,
                }
            }
        }
    }

    /// Takes the ends of sessions. A session says itself how it ended, unless it was killed.
    fn reap(&mut self) {
        while let Ok(Some((pid, event, _))) = wait::poll(-1) {
            let Some(session) = self.sessions.remove(&pid) else { continue };
            self.listener.settled(session.peer);
            self.agent.send(&ToAgent::Ended { session: pid });
            if let Event::Killed { signal, .. } = event {
                log::warn(
                    "session-killed",
                    &[("session", &pid), ("address", &session.peer), ("signal", &signal)],
                );
            }
        }
    }

    /// Ends every session.
    fn stop(&mut self) {
        log::info("sessions-end", &[("open", &self.sessions.len())]);
        let until = Instant::now() + STOP_TIMEOUT;
        self.tell_all(Signal::TERM);
        while !self.sessions.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.tell_all(Signal::KILL);
            }
            let left = left.max(RETRY);
            let timeout = timespec(left);
            // Interrupted or not, the next look decides.
            let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], Some(&timeout));
            self.signals.take();
            self.reap();
        }
    }

    fn tell_all(&self, what: Signal) {
        for pid in self.sessions.keys() {
            // It may have ended meanwhile; until it is reaped, its pid is nobody else's.
            signal::kill(*pid, what.as_raw()).ok();
        }
    }
}
