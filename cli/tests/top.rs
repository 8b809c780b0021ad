//! `mosix top` in a pseudo-terminal, with a daemon that the test plays.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::{Dir, MOSIX, Run};
use wire::local::{NodeLine, Owner, Reply, Request};

/// Answers whoever connects, and hands on what was ordered.
fn daemon(socket: &Path) -> Receiver<Owner> {
    let (tell, told) = channel();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let reply = match serde_json::from_str(&line).unwrap() {
                Request::Nodes => Reply::Nodes(vec![node()]),
                Request::Owner(what) => {
                    tell.send(what).unwrap();
                    Reply::Failed("it does not want to".into())
                }
                other => panic!("{other:?}"),
            };
            let mut answer = serde_json::to_vec(&reply).unwrap();
            answer.push(b'\n');
            // Its asker may have quit.
            let _ = stream.write_all(&answer);
        }
    });
    told
}

fn node() -> NodeLine {
    NodeLine {
        name: "gamma".into(),
        address: None,
        age_s: 0.0,
        cores: 4.0,
        speed: 1.0,
        local: 1.0,
        guests_runnable: 0.0,
        guests: 0,
        memory_total_mib: 8_192,
        memory_free_mib: 4_096,
        rtt_us: None,
        closed: None,
        labels: Vec::new(),
    }
}

/// Everything that the terminal was told, until `text` is in what came since the last time.
fn expect(master: &mut File, all: &mut String, text: &str) {
    let limit = Instant::now() + Duration::from_secs(30);
    let from = all.len();
    while !all[from..].contains(text) {
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&wait)).unwrap();
        assert!(Instant::now() < limit, "no {text:?} at the end of {all:?}");
        if ready > 0 {
            let mut chunk = [0; 16 << 10];
            let count = master.read(&mut chunk).unwrap();
            all.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    }
}

#[test]
fn keys_direct_and_the_terminal_is_given_back() {
    let dir = Dir::new();
    let socket = dir.0.join("mosixd.sock");
    let told = daemon(&socket);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let open = || Stdio::from(File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap());
    let mut top = Command::new("setsid")
        .args(["--ctty", "--wait", MOSIX, "top"])
        .env("MOSIX_SOCKET", &socket)
        .env("TERM", "xterm")
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    let (mut master, mut all) = (File::from(master), String::new());
    expect(&mut master, &mut all, "gamma");
    master.write_all(b"B").unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(Owner::Bring));
    expect(&mut master, &mut all, "it does not want to");
    master.write_all(b"q").unwrap();
    // Leaves the alternate screen (xterm's ctlseqs, DECSET 1049).
    expect(&mut master, &mut all, "\x1b[?1049l");
    assert!(top.wait().unwrap().success());
}

#[test]
fn without_a_terminal_it_names_what_prints() {
    let run = Run::new(Command::new(MOSIX).arg("top"));
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("mosix nodes"), "{run:?}");
}
