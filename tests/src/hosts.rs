//! Two hosts: network namespaces joined by a veth pair, `mosixd` in one and `mosix-run` in the other.
//!
//! Each namespace is held by a process below a keeper, so that it goes, and the pair with it, when the tests are over or
//! dead.

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use crate::keeper::{Keeper, Start};
use crate::mode::User;
use crate::run::first_pid;
use crate::sandbox::Sandbox;
use crate::{binaries, programs};

/// Where the node listens.
pub const NODE: &str = "10.77.0.2:7450";
/// Where the second one does, if there is one.
pub const NODE_B: &str = "10.77.1.2:7450";
/// Names of the two.
pub const NAMES: [&str; 2] = ["node", "node-b"];

/// A network namespace with its loopback device up.
pub struct Net {
    _keeper: Keeper,
    pid: i32,
    // Its holder ends when this is closed.
    _hold: PipeWriter,
}

impl Net {
    pub(crate) fn new(sandbox: &Sandbox, name: &str) -> Result<Net> {
        let (stdin, hold) = std::io::pipe()?;
        let (ready, stdout) = std::io::pipe()?;
        let script = "ip link set lo up && echo up && exec cat";
        let start = Start {
            argv: ["unshare", "--net", "--", "sh", "-c", script].map(String::from).to_vec(),
            env: sandbox.env(),
            dir: sandbox.path("work"),
            stdin: stdin.into(),
            stdout: stdout.into(),
            stderr: Stdio::inherit(),
            own_group: true,
        };
        let socket = sandbox.path(&format!("keeper-{name}"));
        let mut keeper = Keeper::start(&binaries::find("run-keeper")?, socket, start)?;
        let pid = first_pid(&mut keeper)?;
        let mut line = String::new();
        BufReader::new(ready).read_line(&mut line)?;
        ensure!(line == "up\n", "the namespace {name} did not come up");
        Ok(Net { _keeper: keeper, pid, _hold: hold })
    }

    /// The words that run a command in it.
    pub fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.pid), "--".to_owned()]
    }

    /// Joins two by a pair of devices in network 10.77.NUMBER: this one has .1 there, the other .2.
    fn join(&self, other: &Net, number: u8) -> Result<()> {
        let device = format!("veth{number}");
        self.run(&format!("ip link add {device} type veth peer name {device} netns {}", other.pid))?;
        for (net, host) in [(self, 1), (other, 2)] {
            net.run(&format!("ip address add 10.77.{number}.{host}/24 dev {device}"))?;
            net.run(&format!("ip link set {device} up"))?;
        }
        Ok(())
    }

    /// Connects it to a bridge called `lan` in `switch`, whose device for it will be `port`.
    pub(crate) fn plug_into(&self, switch: &Net, port: &str, address: &str) -> Result<()> {
        switch.run(&format!("ip link add {port} type veth peer name lan netns {}", self.pid))?;
        switch.run(&format!("ip link set {port} master lan up"))?;
        self.run(&format!("ip address add {address}/24 dev lan"))?;
        self.run("ip link set lan up")?;
        // Without a default route the kernel would not know where groups are.
        self.run("ip route add 224.0.0.0/4 dev lan")
    }

    pub(crate) fn run(&self, words: &str) -> Result<()> {
        let enter = self.enter();
        let output = Command::new(&enter[0]).args(&enter[1..]).args(words.split(' ')).output()?;
        ensure!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

/// The pair of namespaces.
pub struct Hosts {
    /// Where `mosix-run` is typed.
    pub home: Net,
    /// Where `mosixd` runs.
    pub node: Net,
    second: Option<Net>,
    sandbox: Sandbox,
}

impl Hosts {
    /// Makes both. Only root can.
    pub fn new() -> Result<Hosts> {
        ensure!(User::am_root(), "network namespaces that are joined need root");
        for program in ["ip", "nsenter", "unshare"] {
            programs::need(program)?;
        }
        let sandbox = Sandbox::new(User::Me)?;
        let home = Net::new(&sandbox, "home")?;
        let node = Net::new(&sandbox, "node")?;
        home.join(&node, 0)?;
        Ok(Hosts { home, node, second: None, sandbox })
    }

    /// With a second node, which listens at [`NODE_B`].
    pub fn with_two_nodes() -> Result<Hosts> {
        let mut hosts = Hosts::new()?;
        let second = Net::new(&hosts.sandbox, "node-b")?;
        hosts.home.join(&second, 1)?;
        hosts.second = Some(second);
        Ok(hosts)
    }

    /// Identities of one cluster, `(home's, node's)`, the first for this user.
    pub fn identities(&self, sandbox: &Sandbox) -> Result<(String, String)> {
        let ours = sandbox.text("config/identity");
        self.mosix(sandbox, &["--identity", &ours, "init", "--machine", "home"])?;
        let theirs = self.invite(sandbox, &ours, NAMES[0])?;
        Ok((ours, theirs))
    }

    /// The identity of one more node.
    pub fn invite(&self, sandbox: &Sandbox, ours: &str, name: &str) -> Result<String> {
        let theirs = sandbox.text(&format!("config/{name}-identity"));
        let invitation = sandbox.text(&format!("config/{name}-invitation"));
        self.mosix(sandbox, &["--identity", ours, "invite", name, "--output", &invitation])?;
        self.mosix(sandbox, &["--identity", &theirs, "join", &invitation])?;
        own_all(sandbox, &sandbox.path("config"))?;
        Ok(theirs)
    }

    fn mosix(&self, sandbox: &Sandbox, args: &[&str]) -> Result<()> {
        let mosix = self.sandbox.ours("mosix")?;
        let output = Command::new(&mosix).args(args).env_clear().envs(sandbox.env()).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mosix {}: {}", args.join(" "), message.trim());
        Ok(())
    }

    /// Starts `mosixd` in the node's namespace, as the sandbox's user.
    pub fn start_node(&self, sandbox: &Sandbox, identity: &str) -> Result<Node> {
        start(&self.node, NODE, sandbox, identity)
    }

    /// The same in the second node's.
    pub fn start_second(&self, sandbox: &Sandbox, identity: &str) -> Result<Node> {
        start(self.second.as_ref().context("there is no second node")?, NODE_B, sandbox, identity)
    }
}

fn start(net: &Net, address: &str, sandbox: &Sandbox, identity: &str) -> Result<Node> {
    let mut argv = net.enter();
    argv.extend(sandbox.user().launcher());
    argv.push(sandbox.ours("mosixd")?);
    let (socket, state) =
        (sandbox.text(&format!("report/{}.sock", net.pid)), sandbox.text(&format!("report/{}", net.pid)));
    argv.extend(["--listen", address, "--identity", identity].map(String::from));
    argv.extend(["--socket", &socket, "--state", &state, "--discovery", "off"].map(String::from));
    let (log, stderr) = std::io::pipe()?;
    let start = Start {
        argv,
        env: sandbox.env(),
        dir: sandbox.path("home"),
        stdin: Stdio::null(),
        stdout: Stdio::inherit(),
        stderr: stderr.into(),
        own_group: true,
    };
    let socket = sandbox.path(&format!("keeper-mosixd-{}", net.pid));
    let mut keeper = Keeper::start(&binaries::find("run-keeper")?, socket, start)?;
    let pid = first_pid(&mut keeper)?;
    // Its first line says that it listens, or why it does not.
    let mut line = String::new();
    let mut log = BufReader::new(log);
    log.read_line(&mut line)?;
    ensure!(line.contains(" listens "), "mosixd did not listen: {line}");
    // Its later lines are for whoever looks into a failure; nobody may let the pipe become full.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
    Ok(Node { keeper, pid })
}

fn own_all(sandbox: &Sandbox, path: &std::path::Path) -> Result<()> {
    sandbox.own(path)?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            own_all(sandbox, &entry?.path())?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A running `mosixd`.
pub struct Node {
    keeper: Keeper,
    pid: i32,
}

impl Node {
    /// What belongs to it: its sessions, their sandboxes and bodies.
    pub fn processes(&self) -> Vec<i32> {
        crate::processes::below(self.keeper.pid())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_raw(self.pid).context("pid 0")?, signal)?)
    }

    /// Ends it as a service manager does, and demands that nothing of it is left.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match self.keeper.next(deadline)? {
                Some(crate::keeper::Report::Empty) => return Ok(()),
                Some(_) => {}
                None => {
                    let left = crate::processes::below(self.keeper.pid());
                    let dump = crate::processes::dump(&left);
                    self.keeper.kill()?;
                    bail!("10 s after SIGTERM mosixd has left processes:\n{dump}");
                }
            }
        }
    }
}
