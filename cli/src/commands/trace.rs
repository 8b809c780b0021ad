//! `mosix trace`: the calls of a process that runs, wherever it computes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use home::control::{Reply, client};
use home::trace::event::{Event, What};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use tracee::signals::Signals;
use tracee::{Tid, clock};

use crate::trace::TraceArguments;

/// Traces a process and those that it makes until they have ended or the user has had enough.
pub fn trace(pid: Tid, arguments: &TraceArguments) -> Result<()> {
    let out = || io::stdout().as_fd().try_clone_to_owned().ok().map(File::from);
    let (setup, quiet) = arguments.setup(out).map_err(anyhow::Error::msg)?;
    let signals = Signals::open(&[Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw))
        .map_err(io::Error::from)
        .context("cannot wait for signals")?;
    let mut view = View { sinks: setup.sinks, traced: BTreeMap::new(), says: !quiet.attach };
    let mut tracing = attach(pid, setup.wanted)?;
    loop {
        while let Some(reply) = tracing.take()? {
            match reply {
                Reply::Traced(event) => view.take(&event),
                Reply::Done => {
                    view.finish();
                    return Ok(());
                }
                Reply::Failed(why) => bail!("cannot trace {pid}: {why}"),
                Reply::Processes(_) => bail!("the supervisor of {pid} gave an answer to something else"),
            }
        }
        view.flush();
        let stdout = io::stdout();
        let mut fds = [
            PollFd::new(&tracing, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
            // POLLERR: nobody reads what is written there.
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let [answer, signal, broken] = fds.map(|fd| !fd.revents().is_empty());
        if signal || broken {
            view.detach();
            view.finish();
            return Ok(());
        }
        if answer && !tracing.read()? {
            view.detach();
            view.finish();
            bail!("the supervisor of {pid} has ended");
        }
    }
}

fn attach(pid: Tid, wanted: wire::trace::Wanted) -> Result<client::Tracing> {
    for mut supervisor in client::supervisors() {
        // One that ends meanwhile does not have it.
        if supervisor.processes().unwrap_or_default().iter().any(|line| line.pid == pid) {
            return Ok(supervisor.trace(pid, wanted)?);
        }
    }
    bail!("{pid} is not a process that mosix-run manages here (see mosix ps)")
}

/// What the user sees of it.
struct View {
    sinks: Vec<Box<dyn home::trace::Sink>>,
    /// Threads that are traced, and the process of each.
    traced: BTreeMap<Tid, Tid>,
    /// Attaching and detaching are said.
    says: bool,
}

impl View {
    fn take(&mut self, event: &Event<'_>) {
        match event.what {
            What::Born => {
                self.traced.insert(event.tid, event.pid);
                if event.tid == event.pid {
                    self.say(event.pid, "attached");
                }
            }
            What::Ended(_) | What::Detached | What::Superseded { .. } => {
                self.traced.remove(&event.tid);
            }
            _ => {}
        }
        self.sinks.iter_mut().for_each(|sink| sink.event(event));
    }

    fn say(&mut self, pid: Tid, what: &str) {
        if self.says {
            // What is there already comes first.
            self.flush();
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "mosix: process {pid} {what}");
        }
    }

    fn detach(&mut self) {
        for (tid, pid) in std::mem::take(&mut self.traced) {
            let event = Event { at_ns: clock::monotonic_ns(), pid, tid, what: What::Detached };
            self.sinks.iter_mut().for_each(|sink| sink.event(&event));
            if tid == pid {
                self.say(pid, "detached");
            }
        }
    }

    fn flush(&mut self) {
        for sink in &mut self.sinks {
            sink.flush();
        }
    }

    fn finish(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.finish());
    }
}
