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

const HOME_NET: &str = "10.77.0.1/24";
const NODE_NET: &str = "10.77.0.2/24";

/// A network namespace with its loopback device up.
pub struct Net {
    _keeper: Keeper,
    pid: i32,
    // Its holder ends when this is closed.
    _hold: PipeWriter,
}

impl Net {
    fn new(sandbox: &Sandbox, name: &str) -> Result<Net> {
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

    fn run(&self, words: &str) -> Result<()> {
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
        home.run(&format!("ip link add veth0 type veth peer name veth0 netns {}", node.pid))?;
        for (net, address) in [(&home, HOME_NET), (&node, NODE_NET)] {
            net.run(&format!("ip address add {address} dev veth0"))?;
            net.run("ip link set veth0 up")?;
        }
        Ok(Hosts { home, node, sandbox })
    }

    /// Identities of one cluster, `(home's, node's)`, the first for this user.
    pub fn identities(&self, sandbox: &Sandbox) -> Result<(String, String)> {
        let mosix = self.sandbox.ours("mosix")?;
        let (ours, theirs) = (sandbox.text("config/identity"), sandbox.text("config/node-identity"));
        let invitation = sandbox.text("config/invitation");
        for args in [
            ["--identity", &ours, "init", "--machine", "home"].as_slice(),
            &["--identity", &ours, "invite", "node", "--output", &invitation],
            &["--identity", &theirs, "join", &invitation],
        ] {
            let output = Command::new(&mosix).args(args).env_clear().envs(sandbox.env()).output()?;
            let message = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "mosix {}: {}", args.join(" "), message.trim());
        }
        own_all(sandbox, &sandbox.path("config"))?;
        Ok((ours, theirs))
    }

    /// Starts `mosixd` in the node's namespace, as the sandbox's user.
    pub fn start_node(&self, sandbox: &Sandbox, identity: &str) -> Result<Node> {
        let mut argv = self.node.enter();
        argv.extend(sandbox.user().launcher());
        argv.push(sandbox.ours("mosixd")?);
        argv.extend(["--listen", NODE, "--identity", identity].map(String::from));
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
        let mut keeper = Keeper::start(&binaries::find("run-keeper")?, sandbox.path("keeper-mosixd"), start)?;
        let pid = first_pid(&mut keeper)?;
        // Its first line says that it listens, or why it does not.
        let mut line = String::new();
        let mut log = BufReader::new(log);
        log.read_line(&mut line)?;
        ensure!(line.contains(" listens on "), "mosixd did not listen: {line}");
        // Its later lines are for whoever looks into a failure; nobody may let the pipe become full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
        Ok(Node { keeper, pid })
    }
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
