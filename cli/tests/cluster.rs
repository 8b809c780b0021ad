//! Clusters are made, joined and left by the command line; the daemon's part is played by its own endpoint.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use support::{Dir, MOSIX, Run};
use wire::identity::{self, Role};
use wire::peer::{Endpoint, Event};

fn mosix(identity: &Path, arguments: &[&str]) -> Run {
    // No daemon of this user is to be found, should there be one.
    let mut command = Command::new(MOSIX);
    command.env("MOSIX_SOCKET", identity.join("no.sock")).arg("--identity").arg(identity).args(arguments);
    Run::new(&mut command)
}

fn good(run: Run) -> Run {
    assert!(run.status.success(), "{run:?}");
    run
}

fn cluster(dir: &Dir) -> PathBuf {
    let home = dir.0.join("home");
    good(mosix(&home, &["init", "--machine", "alpha"]));
    home
}

/// What mosixd does for strangers, until so many have asked or were refused; gives how many were refused.
fn let_in(ca: &Path, strangers: usize) -> (String, JoinHandle<usize>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = identity::load(ca, Role::Node).unwrap();
    let (endpoint, mut events) = runtime.block_on(async {
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), &node, node.revoked().clone()).unwrap()
    });
    let address = endpoint.local_addr().unwrap().to_string();
    let ca = ca.to_owned();
    let serving = std::thread::spawn(move || {
        let mut refused = 0;
        runtime.block_on(async {
            for _ in 0..strangers {
                match events.recv().await {
                    Some(Event::Enrol { request, answer, .. }) => {
                        answer.send(identity::answer_enrolment(&ca, &request).response.into());
                    }
                    Some(Event::Refused { .. }) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            // Until the last has its answer.
            endpoint.idle().await;
        });
        refused
    });
    (address, serving)
}

#[test]
fn a_machine_joins_with_a_token_once() {
    let dir = Dir::new();
    let (alpha, beta, gamma) = (cluster(&dir), dir.0.join("beta"), dir.0.join("gamma"));
    let (address, serving) = let_in(&alpha, 3);
    let run = good(mosix(&alpha, &["token", "--address", &address, "--for", "5m"]));
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("5 minutes") && run.stderr.contains(&address), "{run:?}");
    let token = run.stdout.trim();
    let run = good(mosix(&beta, &["join", token, "--machine", "beta"]));
    assert!(run.stdout.contains("this machine is now beta of cluster mosix-"), "{run:?}");
    let run = mosix(&beta, &["join", token, "--machine", "beta"]);
    assert!(!run.status.success() && run.stderr.contains("already of a cluster"), "{run:?}");
    let run = mosix(&gamma, &["join", token, "--machine", "gamma"]);
    assert!(!run.status.success() && run.stderr.contains("has been used"), "{run:?}");

    // Where to ask may be said, and the token may come on standard input.
    let text = good(mosix(&alpha, &["token", "--address", "127.0.0.1:1"])).stdout;
    let file = dir.0.join("token");
    std::fs::write(&file, &text).unwrap();
    let mut join = Command::new(MOSIX);
    join.arg("--identity").arg(&gamma).args(["join", "-", &address, "--machine", "gamma"]);
    join.stdin(std::fs::File::open(&file).unwrap()).stdout(Stdio::null());
    assert!(join.status().unwrap().success());
    assert_eq!(serving.join().unwrap(), 0);

    let run = good(mosix(&alpha, &["node", "list", "--json"]));
    let list: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alpha", "beta", "gamma"]);
    good(mosix(&alpha, &["node", "remove", "beta"]));
    let run = good(mosix(&alpha, &["node", "list"]));
    let beta_line = run.stdout.lines().find(|line| line.starts_with("beta")).unwrap();
    assert!(beta_line.contains("removed") && beta_line.contains("20"), "{run:?}");
    let run = mosix(&alpha, &["node", "remove", "beta"]);
    assert!(!run.status.success() && run.stderr.contains("node list"), "{run:?}");
    let run = mosix(&beta, &["token"]);
    assert!(!run.status.success() && run.stderr.contains("mosix init"), "{run:?}");
}

#[test]
fn what_is_no_token_or_not_ours_is_refused_in_words() {
    let dir = Dir::new();
    let (alpha, beta) = (cluster(&dir), dir.0.join("beta"));
    let token = good(mosix(&alpha, &["token", "--address", "127.0.0.1:1"])).stdout;
    let token = token.trim();
    let refused = |arguments: &[&str], words: &str| {
        let run = mosix(&beta, arguments);
        assert!(!run.status.success() && run.stderr.contains(words), "{words}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(!beta.exists(), "{words}");
    };
    refused(&["join", &token[..token.len() - 1]], "copy the whole line");
    refused(&["join", "mosix1-AAAA"], "copy the whole line");
    refused(&["join", "nowhere.mosix"], "cannot read nowhere.mosix");
    refused(&["join", token, "127.0.0.1:1", "--machine", "a/b"], "is no name");
    // A daemon of another cluster hears nothing of it.
    let other = Dir::new();
    let other_home = cluster(&other);
    let (address, serving) = let_in(&other_home, 1);
    refused(&["join", token, &address, "--machine", "beta"], "not of the cluster that the token is for");
    assert_eq!(serving.join().unwrap(), 1);
}

#[test]
fn a_machine_joins_with_a_file_and_leaves() {
    let dir = Dir::new();
    let (alpha, beta) = (cluster(&dir), dir.0.join("beta"));
    let file = dir.0.join("beta.mosix");
    let file = file.to_str().unwrap();
    good(mosix(&alpha, &["invite", "beta", "--output", file]));
    let run = mosix(&alpha, &["invite", "beta", "--output", &format!("{file}.2")]);
    assert!(!run.status.success() && run.stderr.contains("a machine beta is in the cluster"), "{run:?}");
    assert!(!Path::new(&format!("{file}.2")).exists());
    let run = good(mosix(&beta, &["join", file]));
    assert!(run.stdout.contains("delete"), "{run:?}");
    assert_eq!(identity::load(&beta, Role::User).unwrap().name().node, "beta");
    good(mosix(&beta, &["leave"]));
    assert!(!beta.exists());
    let run = mosix(&alpha, &["leave"]);
    assert!(!run.status.success() && run.stderr.contains("--even-ca"), "{run:?}");
    good(mosix(&alpha, &["leave", "--even-ca"]));
    assert!(!alpha.exists());
}

#[test]
fn pages_and_completions_come_from_the_definitions() {
    let dir = Dir::new();
    let pages = dir.0.join("man");
    good(mosix(&dir.0, &["man", pages.to_str().unwrap()]));
    for (page, words) in [
        ("mosix.1", "mosix\\-nodes(1)"),
        ("mosix-run.1", "\\-\\-trace\\-syscalls"),
        ("mosix-node-remove.1", "mosix\\-node\\-remove"),
        ("mosix-token.1", "good for"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(
            text.starts_with(".ie") && text.contains(".SH NAME") && text.contains(words),
            "{page}: {text}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(good(mosix(&dir.0, &["completions", shell])).stdout.contains("nostay"), "{shell}");
        let run = good(mosix(&dir.0, &["completions", shell, "mosix-run"]));
        assert!(run.stdout.contains("trace-syscalls"), "{shell}");
    }
}
