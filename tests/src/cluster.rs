//! A cluster: machines on one switch, each a network namespace with a `mosixd` of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use wire::local::NodeLine;

use crate::hosts::Net;
use crate::mode::User;
use crate::run::Run;
use crate::sandbox::Sandbox;
use crate::shuttle::Control;
use crate::stats::Stats;
use crate::{binaries, programs};

/// The port of sessions; daemons among themselves have the next one.
pub const SESSIONS: u16 = 7413;
/// What a daemon may take to start or to end, its guests' grace included.
const DAEMON_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at something that tells nobody when it changes.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// A switch, and what its machines run.
pub struct Lan {
    switch: Net,
    sandbox: Sandbox,
    user: User,
    machines: u8,
}

impl Lan {
    /// One without machines, whose daemons and programs will be this user's. Only root can make it.
    pub fn new(user: User) -> Result<Lan> {
        ensure!(User::am_root(), "network namespaces that are joined need root");
        for program in ["ip", "nsenter", "taskset", "unshare"] {
            programs::need(program)?;
        }
        let sandbox = Sandbox::new(User::Me)?;
        let switch = Net::new(&sandbox, "switch")?;
        switch.run("ip link add lan type bridge")?;
        switch.run("ip link set lan up")?;
        Ok(Lan { switch, sandbox, user, machines: 0 })
    }

    /// One more machine. Its daemon and its programs have one core, if it is said which.
    pub fn machine(&mut self, name: &str, core: Option<usize>) -> Result<Machine> {
        self.machines += 1;
        let address = format!("10.78.0.{}", self.machines);
        let port = format!("port{}", self.machines);
        let sandbox = Sandbox::new(self.user)?;
        let net = Net::new(&self.sandbox, &port)?;
        net.plug_into(&self.switch, &port, &address)?;
        let mut words = net.enter();
        words.extend(core.into_iter().flat_map(|core| ["taskset".into(), "-c".into(), core.to_string()]));
        words.extend(self.user.launcher());
        let [mosix, mosixd, mosix_run] = ["mosix", "mosixd", "mosix-run"].map(|name| self.sandbox.ours(name));
        let identity = sandbox.text("config/identity");
        // Root makes the directory, for everybody to pass; another user's daemon has only what is its own.
        let socket = match self.user {
            User::Me => sandbox.text("socket/mosixd.sock"),
            User::Nobody => sandbox.text("config/mosixd.sock"),
        };
        let mut env = sandbox.env();
        env.push(("MOSIX_SOCKET".to_owned(), socket.clone()));
        let control = [words.clone(), vec![mosix?, "--identity".to_owned(), identity]].concat();
        let control = Control::with(control, env);
        let (mosixd, mosix_run) = (mosixd?, mosix_run?);
        Ok(Machine {
            name: name.to_owned(),
            address,
            port,
            daemon: None,
            control,
            words,
            mosixd,
            mosix_run,
            net,
            sandbox,
            socket,
            discovery: "off",
            options: Vec::new(),
        })
    }

    /// Pulls a machine's cable, or plugs it in again.
    pub fn plug(&self, machine: &Machine, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.switch.run(&format!("ip link set {} {state}", machine.port))
    }
}

/// A machine.
pub struct Machine {
    /// Its name in the cluster.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The switch's device.
    port: String,
    daemon: Option<(Run, Instant)>,
    /// `mosix` there.
    pub control: Control,
    words: Vec<String>,
    mosixd: String,
    mosix_run: String,
    net: Net,
    /// Its files.
    pub sandbox: Sandbox,
    /// Its daemon's control socket.
    socket: String,
    /// How its daemon finds others besides seeds.
    pub discovery: &'static str,
    /// More options of its daemon.
    pub options: Vec<String>,
}

/// Another user of a machine, with files of its own.
pub struct Visitor {
    words: Vec<String>,
    mosix_run: String,
    socket: String,
    /// `mosix`, as that user runs it.
    pub control: Control,
    /// Its files.
    pub sandbox: Sandbox,
}

impl Machine {
    /// Makes a cluster with this machine as its first, and starts its daemon.
    pub fn found(&mut self) -> Result<()> {
        self.control.call(&["init", "--machine", &self.name])?;
        self.start(&[])
    }

    /// Makes a token with which another machine asks this one.
    pub fn token(&self, lifetime: &str) -> Result<String> {
        let token = self.control.call(&["token", "--for", lifetime, "--address", &self.address])?;
        Ok(token.trim().to_owned())
    }

    /// Joins the cluster with a token of `first`'s, and starts its daemon with that as its seed.
    pub fn join(&mut self, first: &Machine) -> Result<()> {
        self.enrol(&first.token("15m")?)?;
        self.start(&[first])
    }

    /// Joins with a token. An error is what `mosix join` says.
    pub fn enrol(&self, token: &str) -> Result<()> {
        self.control.call(&["join", "--machine", &self.name, token]).map(drop)
    }

    /// Starts its daemon.
    pub fn start(&mut self, seeds: &[&Machine]) -> Result<()> {
        let mut argv = self.words.clone();
        // As careful as an owner may be.
        argv.extend(["sh", "-c", "umask 077 && exec \"$@\"", "sh", &self.mosixd].map(String::from));
        let listen = format!("{}:{SESSIONS}", self.address);
        argv.extend(["--listen", &listen, "--advertise", &self.address].map(String::from));
        argv.extend(["--discovery", self.discovery, "--socket", &self.socket].map(String::from));
        argv.extend(self.options.iter().cloned());
        for (option, dir) in
            [("--identity", "config/identity"), ("--state", "config/state"), ("--cache", "cache")]
        {
            argv.extend([option.to_owned(), self.sandbox.text(dir)]);
        }
        argv.extend(seeds.iter().flat_map(|seed| ["--seed".to_owned(), seed.address.clone()]));
        let mut daemon = Run::start(&self.sandbox, argv, &[])?;
        daemon.wait_for_error(" info listens ", DAEMON_LIMIT)?;
        self.daemon = Some((daemon, Instant::now()));
        Ok(())
    }

    fn daemon(&mut self) -> Result<&mut Run> {
        Ok(&mut self.daemon.as_mut().context("no daemon runs")?.0)
    }

    /// Waits until its daemon's log holds this.
    pub fn wait_for_log(&mut self, text: &str) -> Result<()> {
        self.daemon()?.wait_for_error(text, DAEMON_LIMIT)
    }

    /// Ends its daemon by a signal; what it has logged. Nothing of it may be left.
    fn end(&mut self, signal: Signal) -> Result<crate::run::Outcome> {
        let (daemon, began) = self.daemon.take().context("no daemon runs")?;
        daemon.signal(signal)?;
        daemon.finish(&self.sandbox, began.elapsed() + DAEMON_LIMIT)
    }

    /// Ends its daemon as a service manager does; its log.
    pub fn stop(&mut self) -> Result<String> {
        let outcome = self.end(Signal::TERM)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        Ok(String::from_utf8_lossy(&outcome.stderr).into_owned())
    }

    /// Kills its daemon.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL).map(drop)
    }

    /// What its daemon knows of all nodes.
    pub fn nodes(&self) -> Result<Vec<NodeLine>> {
        Ok(serde_json::from_str(&self.control.call(&["nodes", "--json"])?)?)
    }

    /// Waits until its daemon knows these nodes and no other.
    pub fn wait_for_nodes(&self, names: &[&str], limit: Duration) -> Result<()> {
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        wait(&format!("{} to know {wanted:?} alone", self.name), limit, || {
            let nodes = self.nodes()?;
            let known: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            Ok((known == wanted).then_some(()))
        })
    }

    /// Waits until its daemon counts so many guests there.
    pub fn wait_for_guests(&self, guests: u32, limit: Duration) -> Result<()> {
        wait(&format!("{} to have {guests} guests", self.name), limit, || {
            let nodes = self.nodes()?;
            Ok(nodes.iter().any(|node| node.address.is_none() && node.guests == guests).then_some(()))
        })
    }

    /// Waits until a process of this home is there.
    pub fn wait_for_place(&self, pid: i32, place: &str, limit: Duration) -> Result<()> {
        wait(&format!("{pid} to be at {place}"), limit, || {
            Ok(self
                .control
                .list()?
                .iter()
                .any(|listed| listed.pid == pid && listed.place == place)
                .then_some(()))
        })
    }

    /// Starts a program natively.
    pub fn run_natively(&self, command: &[&str]) -> Result<Run> {
        let words = [self.words.clone(), command.iter().map(|word| (*word).to_owned()).collect()].concat();
        Run::start(&self.sandbox, words, &[])
    }

    /// Starts a program with mosix-run, whose report will be called `report`.
    pub fn run(&self, report: &str, options: &[&str], command: &[&str]) -> Result<Run> {
        let mut words = self.words.clone();
        words.extend([
            self.mosix_run.clone(),
            "--stats".into(),
            self.sandbox.text(&format!("report/{report}")),
        ]);
        words.extend(options.iter().chain(&["--"]).chain(command).map(|word| (*word).to_owned()));
        Run::start(&self.sandbox, words, &[("MOSIX_SOCKET".to_owned(), self.socket.clone())])
    }

    /// Another user of this machine.
    pub fn visitor(&self, user: User) -> Result<Visitor> {
        let sandbox = Sandbox::new(user)?;
        let mut words = self.net.enter();
        words.extend(user.launcher());
        let mut env = sandbox.env();
        env.push(("MOSIX_SOCKET".to_owned(), self.socket.clone()));
        let control = Control::with([words.clone(), vec![sandbox.ours("mosix")?]].concat(), env);
        let (mosix_run, socket) = (sandbox.ours("mosix-run")?, self.socket.clone());
        Ok(Visitor { words, mosix_run, socket, control, sandbox })
    }

    /// Its daemon's processes, sessions and guests.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(self.daemon.as_ref().context("no daemon runs")?.0.processes())
    }

    /// Tells its daemon to read its file again.
    pub fn reload(&mut self) -> Result<()> {
        self.daemon()?.signal(Signal::HUP)
    }

    /// A report of [`run`](Machine::run).
    pub fn stats(&self, report: &str) -> Result<Stats> {
        Stats::read(&self.sandbox.path(&format!("report/{report}")))
    }

    /// A guest that this machine's user can execute.
    pub fn guest(&self, name: &str) -> Result<String> {
        self.sandbox.program(&binaries::guest(name)?)
    }
}

impl Visitor {
    /// Starts a program with mosix-run, whose report will be called `report`.
    pub fn run(&self, report: &str, options: &[&str], command: &[&str]) -> Result<Run> {
        let mut words = self.words.clone();
        let report = self.sandbox.text(&format!("report/{report}"));
        words.extend([self.mosix_run.clone(), "--stats".into(), report]);
        words.extend(options.iter().chain(&["--"]).chain(command).map(|word| (*word).to_owned()));
        Run::start(&self.sandbox, words, &[("MOSIX_SOCKET".to_owned(), self.socket.clone())])
    }

    /// A report of [`run`](Visitor::run).
    pub fn stats(&self, report: &str) -> Result<Stats> {
        Stats::read(&self.sandbox.path(&format!("report/{report}")))
    }

    /// A guest that this user can execute.
    pub fn guest(&self, name: &str) -> Result<String> {
        self.sandbox.program(&binaries::guest(name)?)
    }
}

/// Looks again and again until something is there.
pub fn wait<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            seen?;
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}
