//! Two hosts. The namespaces themselves are proved first, whatever modes are on: natively, a program in one talks to a
//! program in the other, and nothing else.

#![forbid(unsafe_code)]

use std::process::Command;

use anyhow::{Result, ensure};
use system_tests::case::Case;
use system_tests::hosts::{Hosts, NODE};
use system_tests::mode::{Mode, User};
use system_tests::run::Run;
use system_tests::sandbox::Sandbox;
use system_tests::{guests, suite};

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<suite::Trial>> {
    let mut cases = guests::cases()?;
    cases.push(
        Case::bash("pipeline", "seq 1 50000 | sort -rn | awk '{s += $1} END {print s}'")
            .needs(&["awk"])
            .shows("1250025000"),
    );
    cases.push(
        Case::bash("compile", "printf 'int main(void) {return 6;}' > m.c; gcc -o m m.c; ./m; echo $?; rm m")
            .needs(&["gcc"])
            .shows("6"),
    );
    let mut trials = suite::trials(&cases, &[Mode::TwoHosts])?;
    // Everybody can run the rest of the suite; a pair of network namespaces takes root.
    if User::am_root() {
        trials.push(suite::trial("hosts_are_joined_and_alone", false, hosts_are_joined_and_alone));
        trials.push(suite::trial("hosts_leave_nothing", false, hosts_leave_nothing));
        if Mode::enabled()?.contains(&Mode::TwoHosts) {
            trials.push(suite::trial("a_stranger_is_refused", false, a_stranger_is_refused));
        }
    }
    Ok(trials)
}

/// Python in one namespace answers Python in the other; neither reaches the machine's own loopback.
fn hosts_are_joined_and_alone() -> Result<()> {
    let hosts = Hosts::new()?;
    let sandbox = Sandbox::new(User::Me)?;
    let (address, port) = NODE.split_once(':').expect("an address with a port");
    let server = format!(
        "import socket; s = socket.create_server(('{address}', {port})); print('up', flush=True); \
         c = s.accept()[0]; c.sendall(c.recv(100).upper())"
    );
    let mut argv = hosts.node.enter();
    argv.extend(["python3", "-c", &server].map(String::from));
    let mut server = Run::start(&sandbox, argv, &[])?;
    server.wait_for("up", std::time::Duration::from_secs(20))?;

    // Of the machine's own network, nothing is seen from inside.
    let outside = std::net::TcpListener::bind("127.0.0.1:0")?;
    let client = format!(
        "import socket\nc = socket.create_connection(('{address}', {port}))\nc.sendall(b'over the pair')\nprint(c.recv(100))\n\
         try: socket.create_connection(('127.0.0.1', {}))\nexcept ConnectionRefusedError: print('alone')",
        outside.local_addr()?.port()
    );
    let enter = hosts.home.enter();
    let output = Command::new(&enter[0]).args(&enter[1..]).args(["python3", "-c", &client]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text == "b'OVER THE PAIR'\nalone\n", "{text}{}", String::from_utf8_lossy(&output.stderr));
    let outcome = server.finish(&sandbox, std::time::Duration::from_secs(20))?;
    ensure!(outcome.status.success(), "{outcome:?}");
    Ok(())
}

/// When they are dropped, their processes are gone, and with them the namespaces and the pair.
fn hosts_leave_nothing() -> Result<()> {
    let hosts = Hosts::new()?;
    let inside =
        |words: &[String]| Command::new(&words[0]).args(&words[1..]).args(["ip", "-br", "link"]).output();
    let enter = hosts.home.enter();
    let links = String::from_utf8(inside(&enter)?.stdout)?;
    ensure!(links.contains("veth0"), "{links}");
    drop(hosts);
    ensure!(!inside(&enter)?.status.success(), "the namespace can still be entered");
    Ok(())
}

/// An identity of another cluster gets a message that says what to do, and nothing runs.
fn a_stranger_is_refused() -> Result<()> {
    let hosts = Hosts::new()?;
    let (ours, theirs) = (Sandbox::new(User::Me)?, Sandbox::new(User::Me)?);
    let (_, node_identity) = hosts.identities(&theirs)?;
    let (stranger, _) = hosts.identities(&ours)?;
    let node = hosts.start_node(&theirs, &node_identity)?;
    let mut argv = hosts.home.enter();
    argv.push(ours.ours("mosix-run")?);
    argv.extend(["--on", NODE, "--identity", &stranger, "--", "touch", "ran"].map(String::from));
    let outcome = Run::start(&ours, argv, &[])?.finish(&ours, std::time::Duration::from_secs(60))?;
    let error = String::from_utf8_lossy(&outcome.stderr);
    ensure!(
        outcome.status.code() == Some(125) && error.lines().count() == 1 && error.contains("mosix join"),
        "{outcome:?}"
    );
    ensure!(!ours.path("work/ran").exists(), "the command ran");
    node.stop()
}
