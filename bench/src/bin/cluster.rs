//! What a second node gains: two daemons of one core each in this machine, found by a token, and programs that are started on
//! one of them as usual. All moves are the balancer's own.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bench::cores::CORES;
use bench::figure::Figure;
use bench::guest::{beside, guest, row, wall_ms};

const ROUNDS: usize = 3;
/// Equal jobs, and passes of each: some five seconds.
const JOBS: usize = 4;
const WORK: &str = "50000";
/// Sources of the build.
const SOURCES: usize = 64;
/// How long two daemons may take to know and to have measured each other.
const MEETING: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let dir = Dir(std::env::temp_dir().join(format!("mosix-bench-{}", std::process::id())));
    fs::create_dir(&dir.0)?;
    let home = Node::start(&dir.0, "a", CORES[0], 17413, None)?;
    let token = home.mosix(&["token", "--address", "127.0.0.1:17414"])?;
    let _other = Node::start(&dir.0, "b", CORES[1], 17423, Some(token.lines().next().unwrap_or("").trim()))?;
    let began = Instant::now();
    while home.mosix(&["nodes", "--json"])?.matches("\"name\"").count() < 2 {
        ensure!(began.elapsed() < MEETING, "the daemons do not find each other");
        std::thread::sleep(Duration::from_millis(100));
    }
    let guest = guest()?.into_string().ok().context("the guest's path is no text")?;
    let jobs = format!("{}wait", format!("'{guest}' mix {WORK} & ").repeat(JOBS));
    let jobs = ["sh".to_owned(), "-c".to_owned(), jobs];
    measure(&home, &format!("{JOBS} equal jobs: two nodes of one core / one"), &jobs, "≤ 0.55", || Ok(()))?;
    let sources = dir.0.join("sources");
    write_sources(&sources)?;
    let make: Vec<_> = ["make", "-s", "-j4", "-C"].map(str::to_owned).into();
    let make = [make, vec![sources.display().to_string()]].concat();
    let clean = || {
        for entry in fs::read_dir(&sources)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "o") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    measure(
        &home,
        &format!("make -j4 of {SOURCES} C++ files: two nodes of one core / one"),
        &make,
        "≤ 0.65",
        clean,
    )
}

fn measure(
    home: &Node,
    question: &str,
    words: &[String],
    goal: &str,
    clean: impl Fn() -> Result<()>,
) -> Result<()> {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        clean()?;
        let native = wall_ms(home.command(words))? / 1e3;
        clean()?;
        let mosix_run =
            [vec![beside("mosix-run")?.display().to_string(), "--".to_owned()], words.to_vec()].concat();
        let shared = wall_ms(home.command(&mosix_run))? / 1e3;
        // The first round fills caches and the daemon's memory of programs.
        if round > 0 {
            alone.push(native);
            together.push(shared);
        }
    }
    row(question, "s", (Figure::from(alone), Figure::from(together)), 2, goal);
    Ok(())
}

/// One daemon.
struct Node {
    dir: PathBuf,
    core: usize,
    daemon: Child,
}

impl Node {
    fn start(parent: &Path, name: &str, core: usize, port: u16, token: Option<&str>) -> Result<Node> {
        let dir = parent.join(name);
        let mosix = |words: &[&str]| -> Result<()> {
            let status = Command::new(beside("mosix")?)
                .arg("--identity")
                .arg(dir.join("identity"))
                .args(words)
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "mosix {words:?}: {status}");
            Ok(())
        };
        match token {
            None => mosix(&["init", "--machine", name])?,
            Some(token) => mosix(&["join", "--machine", name, token])?,
        }
        let daemon = pinned(core, &[beside("mosixd")?.display().to_string()])
            .args([
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--advertise",
                "127.0.0.1",
                "--discovery",
                "off",
            ])
            .args(token.map(|_| "--seed=127.0.0.1:17414"))
            .args(
                ["identity", "state", "cache", "socket"]
                    .map(|what| format!("--{what}={}", dir.join(what).display())),
            )
            .stderr(fs::File::create(dir.join("log"))?)
            .spawn()
            .context("start mosixd")?;
        let mut node = Node { dir, core, daemon };
        let began = Instant::now();
        while !node.dir.join("socket").exists() {
            if let Some(status) = node.daemon.try_wait()? {
                bail!("mosixd has ended: {status}: {}", fs::read_to_string(node.dir.join("log"))?);
            }
            ensure!(began.elapsed() < MEETING, "mosixd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(node)
    }

    /// A command as somebody on this node would start it.
    fn command(&self, words: &[String]) -> Command {
        let mut command = pinned(self.core, words);
        command.env("MOSIX_SOCKET", self.dir.join("socket"));
        command
    }

    fn mosix(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(beside("mosix")?)
            .env("MOSIX_SOCKET", self.dir.join("socket"))
            .arg("--identity")
            .arg(self.dir.join("identity"))
            .args(words)
            .stderr(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "mosix {words:?}: {}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn pinned(core: usize, words: &[String]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).args(words);
    command
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has no guests any more.
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

/// Removed when the measurements end.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn write_sources(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    for number in 0..SOURCES {
        let text = format!(
            "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n\
             int work{number}(const std::string &s) {{\n\
             std::map<std::string, std::vector<int>> m;\nm[s].push_back({number});\n\
             for (auto &[k, v] : m) std::sort(v.begin(), v.end());\n\
             return int(m.size());\n}}\n"
        );
        fs::write(dir.join(format!("f{number}.cpp")), text)?;
    }
    let rule = "all: $(patsubst %.cpp,%.o,$(wildcard *.cpp))\n%.o: %.cpp\n\tg++ -O2 -c -o $@ $<\n";
    fs::write(dir.join("Makefile"), rule)?;
    Ok(())
}
