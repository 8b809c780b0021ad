//! What mosix asks of a node daemon and how it shows the answers. The daemon's part is played by a socket of the test.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use support::{Dir, MOSIX, Run};
use wire::local::{NodeLine, Owner, Reply, Request};

/// A daemon that gives one answer.
struct Daemon {
    _dir: Dir,
    socket: PathBuf,
    served: JoinHandle<Request>,
}

impl Daemon {
    fn new(reply: Reply) -> Daemon {
        let dir = Dir::new();
        let socket = dir.0.join("mosixd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let mut answer = serde_json::to_vec(&reply).unwrap();
            answer.push(b'\n');
            stream.write_all(&answer).unwrap();
            serde_json::from_str(&line).unwrap()
        });
        Daemon { _dir: dir, socket, served }
    }

    /// What mosix did, and what it had asked.
    fn run(self, arguments: &[&str]) -> (Run, Request) {
        let run = Run::new(Command::new(MOSIX).env("MOSIX_SOCKET", &self.socket).args(arguments));
        (run, self.served.join().unwrap())
    }
}

fn node(name: &str, here: bool) -> NodeLine {
    NodeLine {
        name: name.into(),
        address: (!here).then(|| "10.0.0.2:7414".parse().unwrap()),
        age_s: 0.4,
        cores: 7.5,
        speed: 1.25,
        local: 1.0,
        guests_runnable: 2.0,
        guests: 3,
        memory_total_mib: 16_384,
        memory_free_mib: 4_096,
        rtt_us: (!here).then_some(140.0),
        closed: (!here).then(|| "blocked by its owner".into()),
        labels: vec!["fast".into()],
    }
}

#[test]
fn nodes_are_a_table_with_this_one_first() {
    let nodes = vec![node("beta", false), node("gamma", true)];
    let (run, asked) = Daemon::new(Reply::Nodes(nodes)).run(&["nodes"]);
    assert_eq!(asked, Request::Nodes);
    let expected = "\
NAME  CORES SPEED LOAD GUESTS  MEMORY GiB    RTT    AGE STATE
gamma   7.5  1.25  3.0      3 4.0 of 16.0      -   here open
beta    7.5  1.25  3.0      3 4.0 of 16.0 140 µs 400 ms blocked by its owner
";
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (expected, ""));
}

#[test]
fn json_is_what_the_daemon_said() {
    let nodes = vec![node("beta", false)];
    let (run, _) = Daemon::new(Reply::Nodes(nodes.clone())).run(&["nodes", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<NodeLine>>(&run.stdout).unwrap(), nodes);
    let lines = || Reply::Lines(vec!["a \"quoted\" line".into(), "another".into()]);
    let (run, asked) = Daemon::new(lines()).run(&["why", "17", "--json"]);
    assert_eq!(asked, Request::Why { pid: 17 });
    assert_eq!(serde_json::from_str::<Vec<String>>(&run.stdout).unwrap().len(), 2);
    let (run, asked) = Daemon::new(lines()).run(&["events"]);
    assert_eq!((asked, run.stdout.as_str()), (Request::Events, "a \"quoted\" line\nanother\n"));
}

#[test]
fn orders_are_given_and_refusals_are_told() {
    for (arguments, request) in [
        (&["bring"][..], Request::Owner(Owner::Bring)),
        (&["expel"], Request::Owner(Owner::Expel)),
        (&["block"], Request::Owner(Owner::Block)),
        (&["unblock"], Request::Owner(Owner::Unblock)),
        (&["stay"], Request::Owner(Owner::Stay)),
        (&["nostay"], Request::Owner(Owner::Nostay)),
        (&["lock", "7"], Request::Lock { pid: 7, locked: true }),
        (&["unlock", "7"], Request::Lock { pid: 7, locked: false }),
    ] {
        let (run, asked) = Daemon::new(Reply::Done).run(arguments);
        assert_eq!((run.status.success(), asked), (true, request), "{run:?}");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    }
    let (run, _) = Daemon::new(Reply::Failed("7 is not yours".into())).run(&["lock", "7"]);
    assert_eq!((run.status.code(), run.stderr.as_str()), (Some(1), "mosix: 7 is not yours\n"));
    let (run, _) = Daemon::new(Reply::Lines(vec![])).run(&["bring"]);
    assert!(run.stderr.contains("an answer to something else"), "{run:?}");
}

#[test]
fn without_a_daemon_it_is_said_how_to_start_one() {
    let dir = Dir::new();
    let dead = dir.0.join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    for socket in [dead, dir.0.join("none.sock")] {
        let run = Run::new(Command::new(MOSIX).env("MOSIX_SOCKET", &socket).arg("nodes"));
        assert_eq!(run.status.code(), Some(1));
        assert!(run.stderr.contains("start it with `mosixd`"), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    let silent = dir.0.join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    let ended = std::thread::spawn(move || drop(listener.accept()));
    let run = Run::new(Command::new(MOSIX).env("MOSIX_SOCKET", &silent).arg("bring"));
    assert!(run.stderr.contains("ended the connection"), "{run:?}");
    ended.join().unwrap();
}

#[test]
fn leaving_waits_for_the_daemons_end() {
    let dir = Dir::new();
    let socket = dir.0.join("mosixd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let identity = dir.0.join("id");
    let mosix = |arguments: &[&str]| {
        let mut command = Command::new(MOSIX);
        Run::new(command.env("MOSIX_SOCKET", &socket).arg("--identity").arg(&identity).args(arguments))
    };
    assert!(mosix(&["init"]).status.success());
    let run = mosix(&["leave", "--even-ca"]);
    assert!(run.stderr.contains("end it first") && identity.join("ca.key").exists(), "{run:?}");
}

#[test]
fn speed_is_measured() {
    let run = Run::new(Command::new(MOSIX).args(["speed", "--json"]));
    let speed: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(speed["speed"].as_f64().unwrap() > 0.01 && speed["cores"].as_u64().unwrap() >= 1, "{run:?}");
}
