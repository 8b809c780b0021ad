//! The control socket: who sees what, and who may ask.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use support::{Run, shell};

fn mosix(arguments: &[&str]) -> Run {
    Run::new(Command::new(support::MOSIX).args(arguments))
}

#[test]
fn ps_shows_what_runs_and_migrate_says_why_not() {
    let dir = support::Dir::new();
    let fifo = dir.0.join("go");
    assert!(shell(&format!("mkfifo {}", fifo.display())).status.success());
    let mut child = support::mosix_run()
        .args(["--home", "sh", "-c", "cat <\"$0\" & echo up; wait"])
        .arg(&fifo)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    let lines: serde_json::Value = serde_json::from_str(&mosix(&["ps", "--json"]).stdout).unwrap();
    let pid = child.id() as i64;
    let mine: Vec<_> =
        lines.as_array().unwrap().iter().filter(|line| line["pid"] == pid || line["ppid"] == pid).collect();
    assert_eq!(mine.len(), 2, "{lines}");
    for line in mine {
        assert_eq!(line["place"], "home");
        assert_eq!(line["stay"], "started with --home");
    }
    assert!(mosix(&["ps"]).stdout.contains(&format!("{pid} ")));
    assert!(mosix(&["migrate", &pid.to_string(), "home"]).status.success());
    let refused = mosix(&["migrate", &pid.to_string(), "loopback"]);
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("not possible: started with --home"), "{}", refused.stderr);
    assert!(mosix(&["migrate", "1", "home"]).stderr.contains("not a process that mosix-run manages"));
    std::fs::write(&fifo, "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!mosix(&["ps"]).stdout.contains(&format!("{pid} ")));
}

#[test]
fn sockets_belong_to_the_user_alone() {
    let dir = support::Dir::new();
    let run = shell(&format!(
        "XDG_RUNTIME_DIR={0} $RUN sh -c 'stat -c \"%a %u %F\" {0}/mosix {0}/mosix/*'; ls {0}/mosix",
        dir.0.display()
    ));
    let user = std::fs::metadata(&dir.0).unwrap().uid();
    assert_eq!(run.stdout, format!("700 {user} directory\n600 {user} socket\n"));
    // A directory that others may write to is not used; the program runs all the same.
    let unsafe_dir = support::Dir::new();
    std::fs::create_dir(unsafe_dir.0.join("mosix")).unwrap();
    std::fs::set_permissions(unsafe_dir.0.join("mosix"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = shell(&format!("XDG_RUNTIME_DIR={} $RUN -v echo runs", unsafe_dir.0.display()));
    assert_eq!(run.stdout, "runs\n");
    assert!(run.stderr.contains("no control socket"), "{}", run.stderr);
}
