//! What a test runs and what it expects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::sandbox::Sandbox;
use crate::{binaries, programs};

/// Prepares the working directory.
pub type Setup = Arc<dyn Fn(&Path) -> Result<()> + Send + Sync>;

/// What is run.
#[derive(Clone)]
pub enum What {
    /// A guest of `tests/guests` with arguments.
    Guest(String, Vec<String>),
    /// A guest written in Rust: a binary of this package.
    RustGuest(String),
    /// Words, the first one found in `PATH`.
    Command(Vec<String>),
    /// A script for `bash -c`.
    Bash(String),
}

/// The end a command must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This exit status.
    Code(i32),
    /// This signal.
    Signal(i32),
}

/// What the report of a run away must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// It was away.
    Yes,
    /// It was away, and spent at least 95 % of its CPU time there.
    Computing,
    /// It may stay at home: it does what D3 keeps at home. The report must then give a reason.
    MayStay,
}

/// One command, and what everybody must see of it.
#[derive(Clone)]
pub struct Case {
    /// Its name in the test's list.
    pub name: String,
    /// What is run.
    pub what: What,
    /// Programs that must be installed.
    pub needs: Vec<&'static str>,
    /// What is made in the working directory first.
    pub setup: Option<Setup>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// How it must end.
    pub end: End,
    /// How long a native run may take; other modes have [`Case::SLOWER`] times as long.
    pub limit: Duration,
    /// Paths whose content differs between two native runs, relative to the sandbox: `work/…`.
    pub unlike: Vec<&'static str>,
    /// Rewrites lines of standard output that differ between two native runs.
    pub mask: Option<fn(String) -> String>,
    /// Output must hold this, so that two equal failures are not taken for success.
    pub shows: Option<String>,
    /// What the report must say.
    pub away: Away,
    /// Measures time: nothing else of the suite runs beside it.
    pub quiet: bool,
}

impl Case {
    /// How much longer than natively a run may take.
    pub const SLOWER: u32 = 4;

    fn new(name: &str, what: What) -> Case {
        Case {
            name: name.to_owned(),
            what,
            needs: Vec::new(),
            setup: None,
            stdin: Vec::new(),
            end: End::Code(0),
            limit: Duration::from_secs(60),
            unlike: Vec::new(),
            mask: None,
            shows: None,
            away: Away::Yes,
            quiet: false,
        }
    }

    /// A guest without arguments.
    pub fn guest(name: &str) -> Case {
        Case::new(name, What::Guest(name.to_owned(), Vec::new())).shows("ok ")
    }

    /// A guest written in Rust.
    pub fn rust_guest(name: &str, binary: &str) -> Case {
        Case::new(name, What::RustGuest(binary.to_owned())).shows("ok ")
    }

    /// A guest with arguments.
    pub fn guest_with(name: &str, guest: &str, args: &[&str]) -> Case {
        Case::new(name, What::Guest(guest.to_owned(), args.iter().map(|s| (*s).to_owned()).collect()))
    }

    /// A bash script.
    pub fn bash(name: &str, script: &str) -> Case {
        Case::new(name, What::Bash(script.to_owned())).needs(&["bash"])
    }

    /// A command.
    pub fn command(name: &str, argv: &[&str]) -> Case {
        Case::new(name, What::Command(argv.iter().map(|s| (*s).to_owned()).collect()))
    }

    /// Programs it needs.
    pub fn needs(mut self, programs: &[&'static str]) -> Case {
        self.needs.extend_from_slice(programs);
        self
    }

    /// Makes files in the working directory first.
    pub fn setup(mut self, setup: impl Fn(&Path) -> Result<()> + Send + Sync + 'static) -> Case {
        self.setup = Some(Arc::new(setup));
        self
    }

    /// Gives it a standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Case {
        self.stdin = bytes.into();
        self
    }

    /// Expects this end.
    pub fn end(mut self, end: End) -> Case {
        self.end = end;
        self
    }

    /// Gives a native run this long.
    pub fn limit(mut self, limit: Duration) -> Case {
        self.limit = limit;
        self
    }

    /// Does not compare these paths.
    pub fn unlike(mut self, paths: &[&'static str]) -> Case {
        self.unlike.extend_from_slice(paths);
        self
    }

    /// Rewrites its standard output before it is compared.
    pub fn mask(mut self, mask: fn(String) -> String) -> Case {
        self.mask = Some(mask);
        self
    }

    /// Demands this text in its standard output.
    pub fn shows(mut self, text: &str) -> Case {
        self.shows = Some(text.to_owned());
        self
    }

    /// Demands this of the report of a run away.
    pub fn away(mut self, away: Away) -> Case {
        self.away = away;
        self
    }

    /// Runs it with nothing of this suite beside it.
    pub fn quiet(mut self) -> Case {
        self.quiet = true;
        self
    }

    /// Its words in this sandbox.
    pub fn argv(&self, sandbox: &Sandbox) -> Result<Vec<String>> {
        for program in &self.needs {
            programs::need(program)?;
        }
        Ok(match &self.what {
            What::Guest(name, args) => {
                let mut argv = vec![sandbox.program(&binaries::guest(name)?)?];
                argv.extend(args.iter().cloned());
                argv
            }
            What::RustGuest(binary) => vec![sandbox.program(&binaries::find(binary)?)?],
            What::Command(argv) => argv.clone(),
            What::Bash(script) => ["bash", "-c", script].map(String::from).to_vec(),
        })
    }
}
