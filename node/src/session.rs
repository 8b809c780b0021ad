//! The life of a session's process.

use std::os::fd::OwnedFd;
use std::time::Instant;

use remote::{Priority, SessionError};
use wire::{HANDSHAKE_TIMEOUT, Incoming, Link, LinkError};

use crate::daemon::Settings;
use crate::log;

/// The code with which a link is closed when there are too many sessions.
const TOO_MANY: u32 = 2;

/// Serves one peer and returns this process's exit status. `told` takes a byte when the peer has shown its
/// certificate. With `refuse` the peer is only told that there are too many sessions.
pub(crate) fn run(incoming: Incoming, told: OwnedFd, settings: &Settings, refuse: bool) -> u8 {
    let address = incoming.peer();
    let mut link = match establish(incoming, settings) {
        Ok(link) => link,
        Err(error @ LinkError::Refused(_)) => {
            log::line(format_args!("{error}"));
            return 1;
        }
        Err(error) => {
            log::line(format_args!("no session with {address}: {error}"));
            return 1;
        }
    };
    // The daemon is there, or this process is about to die.
    let _ = rustix::io::write(&told, b"e");
    drop(told);
    let peer = link.peer().map_or_else(|| address.to_string(), |name| format!("{name} ({address})"));
    if refuse {
        let most = settings.max_sessions;
        link.close(
            TOO_MANY,
            &format!("it has its {most} sessions (mosixd --max-sessions); try another node"),
        );
        log::line(format_args!("refused {peer}: {most} sessions are open (--max-sessions)"));
        return 1;
    }
    let pid = std::process::id();
    log::line(format_args!("session {pid} of {peer} begins"));
    let since = Instant::now();
    let ended = remote::serve(link, &settings.name, &settings.cache, Priority::Guest);
    let seconds = since.elapsed().as_secs_f64();
    let how = match &ended {
        Ok(()) => String::new(),
        Err(SessionError::Unfit(why)) => format!(" refused: {why}"),
        Err(error) => format!(": {error}"),
    };
    log::line(format_args!("session {pid} of {peer} ended after {seconds:.1} s{how}"));
    u8::from(ended.is_err())
}

fn establish(incoming: Incoming, settings: &Settings) -> Result<Link, LinkError> {
    let mut link = Link::serve(incoming, &settings.identity, Instant::now())?;
    link.wait_established(HANDSHAKE_TIMEOUT)?;
    Ok(link)
}
