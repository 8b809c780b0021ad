//! Node daemons that form a cluster: each in a network namespace of its own, all joined by one bridge.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use system_tests::hosts::Net;
use system_tests::mode::User;
use system_tests::sandbox::Sandbox;
use system_tests::suite;

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<suite::Trial>> {
    // Namespaces that are joined take root.
    if !User::am_root() {
        return Ok(Vec::new());
    }
    Ok(vec![
        suite::trial("nodes_come_go_and_come_back", true, nodes_come_go_and_come_back),
        suite::trial("two_clusters_on_one_wire", true, two_clusters_on_one_wire),
        suite::trial("an_owner_is_obeyed", true, an_owner_is_obeyed),
    ])
}

/// The bridge, and the machines on it.
struct Room {
    nodes: Vec<Node>,
    hub: Net,
    sandbox: Sandbox,
}

struct Node {
    name: String,
    address: String,
    socket: String,
    daemon: Child,
    net: Net,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; its sessions end with it.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Room {
    fn new() -> Result<Room> {
        let sandbox = Sandbox::new(User::Me)?;
        let hub = Net::new(&sandbox, "hub")?;
        hub.run("ip link add bridge0 type bridge")?;
        hub.run("ip link set bridge0 up")?;
        Ok(Room { nodes: Vec::new(), hub, sandbox })
    }

    fn mosix(&self, args: &[&str]) -> Result<()> {
        let output = Command::new(self.sandbox.ours("mosix")?)
            .args(args)
            .env_clear()
            .envs(self.sandbox.env())
            .output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mosix {}: {}", args.join(" "), message.trim());
        Ok(())
    }

    /// The identity of a machine, of the cluster that `ca` made; makes that if it is its first.
    fn identity(&self, ca: &str, name: &str) -> Result<String> {
        let (of_ca, own) =
            (self.sandbox.text(&format!("config/{ca}")), self.sandbox.text(&format!("config/{name}")));
        if ca == name {
            self.mosix(&["--identity", &own, "init", "--machine", name])?;
        } else {
            let invitation = self.sandbox.text(&format!("config/{name}-invitation"));
            self.mosix(&["--identity", &of_ca, "invite", name, "--output", &invitation])?;
            self.mosix(&["--identity", &own, "join", &invitation])?;
        }
        Ok(own)
    }

    /// A machine with its daemon, which asks the first one where the others are.
    fn add(&mut self, ca: &str, name: &str) -> Result<()> {
        let number = self.nodes.len() + 1;
        let identity = self.identity(ca, name)?;
        let net = Net::new(&self.sandbox, name)?;
        let address = format!("10.78.0.{number}");
        self.hub.run(&format!("ip link add port{number} type veth peer name eth0 netns {}", net.pid()))?;
        self.hub.run(&format!("ip link set port{number} master bridge0 up"))?;
        net.run(&format!("ip address add {address}/24 dev eth0"))?;
        net.run("ip link set eth0 up")?;
        let socket = self.sandbox.text(&format!("run/{name}.sock"));
        let enter = net.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(self.sandbox.ours("mosixd")?).env_clear().envs(self.sandbox.env());
        command.args(["--listen", &format!("{address}:7413"), "--identity", &identity, "--socket", &socket]);
        command.args(["--state", &self.sandbox.text(&format!("report/{name}")), "--discovery", "off"]);
        command.args(["--seed", "10.78.0.1"]);
        let log = std::fs::File::create(self.sandbox.path(&format!("report/{name}.log")))?;
        let daemon = command.stdin(Stdio::null()).stderr(log).spawn()?;
        self.nodes.push(Node { name: name.to_owned(), address, socket, daemon, net });
        Ok(())
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.sandbox.path(&format!("report/{name}.log"))).unwrap_or_default()
    }

    /// Waits until each of these nodes knows just these names.
    fn agree(&self, on: &[&str], within: Duration) -> Result<Duration> {
        let since = Instant::now();
        loop {
            let views: Vec<_> =
                self.nodes.iter().filter(|node| on.contains(&node.name.as_str())).map(Node::view).collect();
            let wanted = |view: &Result<Vec<String>>| view.as_ref().is_ok_and(|view| view == on);
            if views.iter().all(wanted) {
                return Ok(since.elapsed());
            }
            if since.elapsed() > within {
                let logs: Vec<_> = self.nodes.iter().map(|node| self.log(&node.name)).collect();
                bail!("after {within:?} they know {views:?}, not {on:?}:\n{}", logs.join("\n"));
            }
            // Nobody is told when a node changes its mind; it is asked.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Node {
    fn ask(&self, request: &str) -> Result<Value> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The names that it knows, sorted.
    fn view(&self) -> Result<Vec<String>> {
        let reply = self.ask("\"nodes\"")?;
        let lines = reply["nodes"].as_array().context("no nodes")?;
        let mut names: Vec<String> =
            lines.iter().filter_map(|line| Some(line["name"].as_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn guests(&self) -> Result<u64> {
        let reply = self.ask("\"nodes\"")?;
        let lines = reply["nodes"].as_array().context("no nodes")?;
        let own = lines.iter().find(|line| line["address"].is_null()).context("not itself")?;
        own["guests"].as_u64().context("no guests")
    }
}

/// Five form a cluster, a sixth joins, one is killed, another is cut off and comes back.
fn nodes_come_go_and_come_back() -> Result<()> {
    let mut room = Room::new()?;
    let names = ["a", "b", "c", "d", "e"];
    let since = Instant::now();
    names.iter().try_for_each(|name| room.add("a", name))?;
    let started = since.elapsed();
    let formed = room.agree(&names, Duration::from_secs(5))?;
    room.add("a", "f")?;
    let joined = room.agree(&["a", "b", "c", "d", "e", "f"], Duration::from_secs(5))?;
    room.nodes[2].daemon.kill()?;
    let dropped = room.agree(&["a", "b", "d", "e", "f"], Duration::from_secs(10))?;
    room.nodes[4].net.run("ip link set eth0 down")?;
    room.agree(&["a", "b", "d", "f"], Duration::from_secs(10))?;
    room.nodes[4].net.run("ip link set eth0 up")?;
    let healed = room.agree(&["a", "b", "d", "e", "f"], Duration::from_secs(30))?;
    println!(
        "started {started:.1?}, formed {formed:.1?}, joined {joined:.1?}, dropped {dropped:.1?}, healed {healed:.1?}"
    );
    Ok(())
}

/// Daemons of another cluster that ask this one's are refused, which is logged, and nobody is in both.
fn two_clusters_on_one_wire() -> Result<()> {
    let mut room = Room::new()?;
    for (ca, name) in [("a", "a"), ("a", "b"), ("x", "x")] {
        room.add(ca, name)?;
    }
    room.agree(&["a", "b"], Duration::from_secs(5))?;
    let until = Instant::now() + Duration::from_secs(10);
    while !room.log("a").contains("peer-refused") {
        ensure!(Instant::now() < until, "a did not say that it refused x:\n{}", room.log("a"));
        std::thread::sleep(Duration::from_millis(50));
    }
    room.agree(&["a", "b"], Duration::from_secs(1))?;
    room.agree(&["x"], Duration::from_secs(1)).map(drop)
}

/// What computes on a node goes home when its owner says expel, and nothing comes before unblock.
fn an_owner_is_obeyed() -> Result<()> {
    let mut room = Room::new()?;
    ["a", "b"].iter().try_for_each(|name| room.add("a", name))?;
    room.agree(&["a", "b"], Duration::from_secs(5))?;
    let (home, node) = (&room.nodes[0], &room.nodes[1]);
    ensure!(node.address == "10.78.0.2");
    let enter = home.net.enter();
    let mut command = Command::new(&enter[0]);
    command.args(&enter[1..]).arg(room.sandbox.ours("mosix-run")?).env_clear().envs(room.sandbox.env());
    command.env("MOSIX_SOCKET", &home.socket).args(["--on", "b", "--", "sh", "-c", "while :; do :; done"]);
    let mut run = command.stdin(Stdio::null()).spawn()?;
    let came = await_guests(node, 1);
    let expelled = came.and_then(|()| node.ask(r#"{"owner":"expel"}"#));
    let left = node.guests();
    let alive = run.try_wait()?.is_none();
    let unblocked = node.ask(r#"{"owner":"unblock"}"#).and_then(|_| await_guests(node, 1));
    let brought = home.ask(r#"{"owner":"bring"}"#);
    let at_home = await_guests(node, 0);
    run.kill()?;
    run.wait()?;
    ensure!(
        expelled? == "done" && left? == 0 && alive,
        "expel did not send the guest home:\n{}",
        room.log("b")
    );
    unblocked?;
    ensure!(brought? == "done", "bring did not bring it home:\n{}", room.log("a"));
    at_home
}

fn await_guests(node: &Node, count: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while node.guests()? != count {
        ensure!(Instant::now() < until, "{} has not {count} guests", node.name);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
