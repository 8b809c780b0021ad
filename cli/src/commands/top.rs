//! `mosix top`: nodes and processes as they change, and keys to direct them.
//!
//! The screen is drawn by one thread that waits for what the others tell it: keys, what daemon and supervisors say once a
//! second, and the ends of what was asked for. None of those can hold up the screen.

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use home::control::client;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use wire::local::Request;

use self::state::{Action, Next, Snapshot, State};
use super::migrate::migrate;
use crate::daemon::Daemon;

mod state;
mod view;

/// How often daemon and supervisors are asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the other threads tell.
enum News {
    Key(KeyEvent),
    /// The terminal's size is another.
    Resized,
    Looked(Snapshot),
    /// What was asked for has ended.
    Done(Action, Result<(), String>),
}

/// Shows them until `q`.
pub fn top() -> Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!("standard output is no terminal: `mosix nodes` and `mosix ps` print what top shows");
    }
    let mut terminal = ratatui::try_init().context("cannot set up the terminal")?;
    let ended = show(&mut terminal);
    ratatui::try_restore().context("cannot restore the terminal")?;
    ended
}

fn show(terminal: &mut ratatui::DefaultTerminal) -> Result<()> {
    let (tell, told) = channel();
    // One request to look again at once may wait; a second would see the same.
    let (again, asked_again) = sync_channel(1);
    let (keys, looks) = (tell.clone(), tell.clone());
    thread::spawn(move || read_keys(&keys));
    thread::spawn(move || look(&looks, &asked_again));
    let mut state = State::default();
    loop {
        terminal.draw(|frame| view::draw(frame, &state)).context("cannot draw")?;
        // This thread holds a sender itself.
        let Ok(news) = told.recv() else { return Ok(()) };
        match news {
            News::Resized => {}
            News::Looked(snapshot) => state.look(snapshot),
            News::Done(action, result) => {
                state.done(&action, result);
                let _ = again.try_send(());
            }
            News::Key(key) => match state.press(key) {
                Next::Go(action) => {
                    let tell = tell.clone();
                    thread::spawn(move || {
                        let result = act(&action).map_err(|error| format!("{error:#}"));
                        // The screen may be gone.
                        let _ = tell.send(News::Done(action, result));
                    });
                }
                Next::Nothing => {}
                Next::Quit => return Ok(()),
            },
        }
    }
}

fn read_keys(tell: &Sender<News>) {
    // An error means that the terminal is gone, and this program will be in a moment.
    while let Ok(event) = event::read() {
        let news = match event {
            Event::Key(key) if key.is_press() => News::Key(key),
            Event::Resize(..) => News::Resized,
            _ => continue,
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

fn look(tell: &Sender<News>, asked_again: &Receiver<()>) {
    loop {
        let nodes = Daemon::connect().and_then(|mut daemon| daemon.nodes());
        let mut processes = Vec::new();
        for mut supervisor in client::supervisors() {
            // One that ends meanwhile has no processes left.
            processes.extend(supervisor.processes().unwrap_or_default());
        }
        let nodes = nodes.map_err(|error| format!("{error:#}"));
        let snapshot = Snapshot { nodes, processes, at: Instant::now() };
        if tell.send(News::Looked(snapshot)).is_err() {
            return;
        }
        if asked_again.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn act(action: &Action) -> Result<()> {
    match action {
        Action::Migrate { pid, to } => migrate(*pid, to),
        Action::Lock { pid, locked } => {
            Daemon::connect()?.order(&Request::Lock { pid: *pid, locked: *locked })
        }
        Action::Owner(what) => Daemon::connect()?.order(&Request::Owner(*what)),
    }
}
