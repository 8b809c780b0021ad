//! A node daemon that does what a test says: a real control socket that speaks [`wire::local`], and remembers what it heard.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wire::local::{Reply, Request};

use crate::sandbox::Sandbox;

type Script = dyn Fn(&Request) -> Vec<Reply> + Send + Sync;

/// What was said, and when.
pub type Log = Vec<(Instant, Request)>;

#[derive(Default)]
struct State {
    log: Mutex<Log>,
    heard: Condvar,
    /// The connection that was made last.
    client: Mutex<Option<UnixStream>>,
}

/// A running one.
pub struct Daemon {
    path: PathBuf,
    state: Arc<State>,
    script: Arc<Script>,
}

impl Daemon {
    /// Listens in the sandbox, and answers each request as `script` says.
    pub fn start(
        sandbox: &Sandbox,
        script: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Result<Daemon> {
        let path = sandbox.path("config/mosixd.sock");
        let daemon = Daemon { path, state: Arc::default(), script: Arc::new(script) };
        daemon.listen(sandbox)?;
        Ok(daemon)
    }

    /// Listens, at first or again.
    pub fn listen(&self, sandbox: &Sandbox) -> Result<()> {
        let listener = UnixListener::bind(&self.path)?;
        sandbox.own(&self.path)?;
        let (state, script) = (self.state.clone(), self.script.clone());
        std::thread::spawn(move || {
            // After `die` nobody finds it any more.
            while let Ok((stream, _)) = listener.accept() {
                let Ok(copy) = stream.try_clone() else { return };
                *state.client.lock().unwrap_or_else(|e| e.into_inner()) = Some(copy);
                let (state, script) = (state.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &state, &*script));
            }
        });
        Ok(())
    }

    /// What makes mosix-run find it.
    pub fn env(&self) -> Vec<(String, String)> {
        vec![("MOSIX_SOCKET".to_owned(), self.path.display().to_string())]
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.state.log.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What it has heard so far.
    pub fn heard(&self) -> Log {
        self.log().clone()
    }

    /// Waits until what it has heard after the first `skip` requests holds something; returns that and how many came
    /// until then.
    pub fn wait<T>(
        &self,
        skip: usize,
        what: &str,
        limit: Duration,
        find: impl Fn(&Request) -> Option<T>,
    ) -> Result<(usize, T)> {
        let until = Instant::now() + limit;
        let mut log = self.log();
        loop {
            let found =
                log.iter().enumerate().skip(skip).find_map(|(n, (_, heard))| Some((n + 1, find(heard)?)));
            if let Some(found) = found {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "nobody said {what}; heard: {log:#?}");
            log = self.state.heard.wait_timeout(log, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Says something unasked.
    pub fn say(&self, reply: &Reply) -> Result<()> {
        let mut client = self.state.client.lock().unwrap_or_else(|e| e.into_inner());
        let Some(stream) = &mut *client else { bail!("nobody is connected") };
        write(stream, reply)
    }

    /// Closes everything, as a daemon that is killed.
    pub fn die(&self) -> Result<()> {
        fs::remove_file(&self.path)?;
        let client = self.state.client.lock().unwrap_or_else(|e| e.into_inner()).take();
        let client = client.context("nobody is connected")?;
        Ok(client.shutdown(std::net::Shutdown::Both)?)
    }
}

fn write(stream: &mut UnixStream, reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

fn serve(mut stream: UnixStream, state: &State, script: &Script) {
    let Ok(copy) = stream.try_clone() else { return };
    for line in BufReader::new(copy).lines() {
        let Ok(request) = line.map_err(anyhow::Error::from).and_then(|line| Ok(serde_json::from_str(&line)?))
        else {
            return;
        };
        let replies = script(&request);
        state.log.lock().unwrap_or_else(|e| e.into_inner()).push((Instant::now(), request));
        state.heard.notify_all();
        for reply in &replies {
            // The supervisor may have ended.
            if write(&mut stream, reply).is_err() {
                return;
            }
        }
    }
}
