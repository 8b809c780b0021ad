//! The daemon's own process: it listens, makes a process for each session, and sees to their ends.
//!
//! A session is a process of its own: it traces its bodies from its only thread, its fault is its own, and its end
//! ends all that it holds. It ends with the daemon too, whatever the daemon's end is (PR_SET_PDEATHSIG).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use tracee::signals::Signals;
use tracee::wait;
use tracee::{Event, Tid, launch, signal};
use wire::{Identity, Incoming, LinkError, Listener};

use crate::{log, session};

/// Sessions that are told that there are too many: processes above the limit, for a moment each. Peers beyond
/// that are not answered.
const MAX_REFUSING: usize = 16;

/// How long sessions may take to end by themselves when the daemon stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// After an error of the listening socket, so that a lasting one does not fill the log.
const RETRY: Duration = Duration::from_millis(200);

/// What a session needs to know.
pub(crate) struct Settings {
    pub(crate) identity: Identity,
    pub(crate) name: String,
    pub(crate) cache: PathBuf,
    pub(crate) max_sessions: usize,
}

/// What only the daemon's own process holds; a session's process closes it.
struct Own {
    listener: Listener,
    signals: Signals,
    sessions: HashMap<Tid, Running>,
}

/// A session's process.
struct Running {
    peer: SocketAddr,
    /// Gives a byte when the peer has shown its certificate, and ends with the process.
    news: Option<OwnedFd>,
}

pub(crate) struct Daemon {
    settings: Settings,
    /// None in a session's process.
    own: Option<Own>,
}

impl Daemon {
    pub(crate) fn open(address: SocketAddr, settings: Settings) -> Result<Daemon> {
        let listener = Listener::bind(address).map_err(|error| match error {
            LinkError::Socket(_, rustix::io::Errno::ADDRINUSE) => {
                anyhow::anyhow!("{address} is in use: another mosixd runs there, or choose another --listen")
            }
            error => anyhow::anyhow!("cannot listen on {address}: {error}"),
        })?;
        let wanted = [Signal::CHILD, Signal::TERM, Signal::INT].map(Signal::as_raw);
        let signals = Signals::open(&wanted).map_err(std::io::Error::from).context("signalfd")?;
        let own = Own { listener, signals, sessions: HashMap::new() };
        Ok(Daemon { settings, own: Some(own) })
    }

    /// Serves until SIGTERM or SIGINT.
    pub(crate) fn work(&mut self) -> Result<()> {
        if let Some(own) = &self.own {
            let identity = self.settings.identity.name();
            log::line(format_args!(
                "node {} of cluster {} listens on {}",
                self.settings.name,
                identity.cluster,
                own.listener.local_addr()?
            ));
        }
        while let Some(own) = &mut self.own {
            own.sleep()?;
            let came = own.signals.take();
            own.reap();
            own.hear_news();
            if came & (bit(Signal::TERM) | bit(Signal::INT)) != 0 {
                own.stop();
                break;
            }
            self.accept();
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Some(own) = &mut self.own {
            match own.listener.accept(Instant::now()) {
                Ok(Some(incoming)) => self.begin(incoming),
                Ok(None) => return,
                Err(error) => {
                    log::line(format_args!("cannot take a session: {error}"));
                    return std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn begin(&mut self, incoming: Incoming) {
        let Some(running) = self.own.as_ref().map(|own| own.sessions.len()) else { return };
        let peer = incoming.peer();
        let most = self.settings.max_sessions;
        if running >= most + MAX_REFUSING {
            return log::line(format_args!(
                "refused {peer}: {running} sessions are open (--max-sessions {most})"
            ));
        }
        let (news, told) = match pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) {
            Ok(ends) => ends,
            Err(error) => return log::line(format_args!("cannot take a session of {peer}: {error}")),
        };
        // In the parent, fork drops what the child takes along.
        let forked = launch::fork(|| {
            self.own = None;
            session::run(incoming, told, &self.settings, running >= most)
        });
        let Some(own) = &mut self.own else { return };
        match forked {
            Ok(pid) => {
                own.sessions.insert(pid, Running { peer, news: Some(news) });
            }
            Err(errno) => log::line(format_args!("cannot fork a session for {peer}: {errno}")),
        }
    }
}

impl Own {
    /// Until something is there to do.
    fn sleep(&self) -> Result<()> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.listener.fd(), PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        let news = self.sessions.values().filter_map(|session| session.news.as_ref());
        fds.extend(news.map(|news| PollFd::from_borrowed_fd(news.as_fd(), PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }

    /// Who has shown a certificate no longer counts as a stranger.
    fn hear_news(&mut self) {
        for session in self.sessions.values_mut() {
            let Some(news) = &session.news else { continue };
            let mut byte = [0];
            match rustix::io::read(news, &mut byte) {
                Err(rustix::io::Errno::AGAIN) => continue,
                Ok(1) => self.listener.settled(session.peer),
                _ => {}
            }
            session.news = None;
        }
    }

    /// Takes the ends of sessions. A session says itself how it ended, unless it was killed.
    fn reap(&mut self) {
        while let Ok(Some((pid, event, _))) = wait::poll(-1) {
            let Some(session) = self.sessions.remove(&pid) else { continue };
            self.listener.settled(session.peer);
            if let Event::Killed { signal, .. } = event {
                log::line(format_args!(
                    "session {pid} of {} was killed by signal {signal}; what computed in it is gone",
                    session.peer
                ));
            }
        }
    }

    /// Ends every session.
    fn stop(&mut self) {
        log::line(format_args!("stopping, with {} sessions open", self.sessions.len()));
        let until = Instant::now() + STOP_TIMEOUT;
        self.tell_all(Signal::TERM);
        while !self.sessions.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.tell_all(Signal::KILL);
            }
            let left = left.max(RETRY);
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
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

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}
