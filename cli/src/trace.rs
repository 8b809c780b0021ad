//! The options of a trace of system calls: strace's letters, for `mosix-run --trace-syscalls` and `mosix trace`.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use home::trace::text::{Layout, Pages, Quiet, Times};
use home::trace::{Form, Setup, SortBy, filter};
use syscall_table::render::Style;
use wire::trace::{Ends, STRING_BYTES_MAX, Wanted};

/// How a trace looks and what it is of.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct TraceArguments {
    /// Write the trace to FILE
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Children and threads are always followed; -ff writes each one's lines to a file of its own, FILE.PID
    #[arg(short = 'f', action = clap::ArgAction::Count)]
    follow: u8,
    /// Which calls, which of them by how they end, and which signals: trace=[!]CALL,%SET,/REGEX…, status=successful,failed,…,
    /// signal=[!]SIGNAL,…, quiet=KIND,…; without a word before the = it is trace=
    #[arg(short = 'e', value_name = "EXPR")]
    expressions: Vec<String>,
    /// Only calls that succeed
    #[arg(short = 'z', long, conflicts_with = "failed_only")]
    successful_only: bool,
    /// Only calls that fail
    #[arg(short = 'Z', long)]
    failed_only: bool,
    /// Bytes of a string, and elements of an array, that are shown [default: 32]
    #[arg(short = 's', long, value_name = "SIZE", value_parser = clap::value_parser!(u32).range(0..=STRING_BYTES_MAX as i64))]
    string_limit: Option<u32>,
    /// Show the paths of descriptors
    #[arg(short = 'y', action = clap::ArgAction::Count)]
    decode_fds: u8,
    /// The time of day before each line; -tt with microseconds, -ttt since the epoch
    #[arg(short = 't', action = clap::ArgAction::Count)]
    times: u8,
    /// The time since the line before
    #[arg(short = 'r', long)]
    relative_timestamps: bool,
    /// The time that each call took, and how much of it the wire
    #[arg(short = 'T', long)]
    syscall_times: bool,
    /// The number of each call
    #[arg(short = 'n', long)]
    syscall_number: bool,
    /// Column of the results [default: 40]
    #[arg(short = 'a', long, value_name = "COLUMN")]
    columns: Option<u16>,
    /// No messages about attaching; -qq no lines about ends, -qqq none about moves either
    #[arg(short = 'q', action = clap::ArgAction::Count)]
    quiet: u8,
    /// Only a table at the end: time, calls and errors of each call, how often it was forwarded, time and bytes on the wire
    #[arg(short = 'c', long, conflicts_with = "summary")]
    summary_only: bool,
    /// Lines, and the table at the end
    #[arg(short = 'C', long)]
    summary: bool,
    /// By what the table is sorted
    #[arg(short = 'S', long, value_name = "KEY", value_parser = sort_keys())]
    summary_sort_by: Option<SortBy>,
    /// As strace's lines, as a JSON object a line, or as a timeline for ui.perfetto.dev
    #[arg(long, value_enum, conflicts_with_all = ["summary", "summary_only"])]
    format: Option<Format>,
}

/// See [`TraceArguments::format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
    Perfetto,
}

fn sort_keys() -> impl TypedValueParser<Value = SortBy> {
    PossibleValuesParser::new(SortBy::NAMES.map(|(name, _)| name)).map(|given| {
        let named = SortBy::NAMES.into_iter().find(|(name, _)| *name == given);
        named.map_or_else(SortBy::default, |(_, key)| key)
    })
}

impl TraceArguments {
    /// Whether anything is asked for.
    pub fn are_some(&self) -> bool {
        *self != TraceArguments::default()
    }

    /// The trace that is asked for. Without `-o` it goes to `usual`.
    pub fn setup(&self, usual: impl FnOnce() -> Option<File>) -> Result<(Setup, Quiet), String> {
        let (wanted, quiet) = self.wanted()?;
        if self.decode_fds > 1 {
            return Err(
                "-yy, what descriptors are besides their paths, is not to be had here: -y shows the paths"
                    .into(),
            );
        }
        let separate = self.follow > 1 && self.output.is_some();
        if separate && (self.summary || self.summary_only) {
            return Err(
                "a table at the end (-c, -C) and a file for each process (-ff) exclude each other".into()
            );
        }
        if separate && self.format.unwrap_or_default() != Format::Text {
            return Err("-ff is for strace's lines, and not for --format json or perfetto".into());
        }
        let sinks = if separate {
            let base = self.output.as_deref().unwrap_or(Path::new("."));
            let base = std::path::absolute(base)
                .map_err(|error| format!("cannot write {}.PID: {error}", base.display()))?;
            vec![Form::Text(self.layout(quiet), Pages::Separate(base)).sink()]
        } else {
            let file = match &self.output {
                Some(path) => Some(create(path)?),
                None => usual(),
            };
            self.forms(quiet, file)?.into_iter().map(Form::sink).collect()
        };
        Ok((Setup { wanted, sinks, lazy: self.output.is_some() }, quiet))
    }

    fn forms(&self, quiet: Quiet, file: Option<File>) -> Result<Vec<Form>, String> {
        let sort = self.summary_sort_by.unwrap_or_default();
        let prefix = self.output.is_some();
        let lines = |file| Form::Text(self.layout(quiet), Pages::One { file, prefix });
        Ok(match self.format.unwrap_or_default() {
            Format::Json => vec![Form::Json(file)],
            Format::Perfetto => vec![Form::Perfetto(file)],
            Format::Text if self.summary_only => vec![Form::Summary(sort, file)],
            Format::Text if self.summary => {
                let again = file.as_ref().map(File::try_clone).transpose();
                let again = again.map_err(|error| format!("cannot write the trace: {error}"))?;
                vec![lines(file), Form::Summary(sort, again)]
            }
            Format::Text => vec![lines(file)],
        })
    }

    /// What the trace is of.
    pub fn wanted(&self) -> Result<(Wanted, Quiet), String> {
        let mut wanted = Wanted::all();
        let mut quiet = Quiet {
            attach: self.quiet > 0,
            exit: self.quiet > 1,
            superseded: self.quiet > 2,
            moves: self.quiet > 2,
        };
        if self.successful_only {
            wanted.ends = Ends::SUCCESSFUL;
        } else if self.failed_only {
            wanted.ends = Ends::FAILED;
        }
        for expression in &self.expressions {
            if let Some(kinds) = filter::expression(expression, &mut wanted)? {
                quiet = quieter(quiet, &kinds)?;
            }
        }
        wanted.entries = !self.summary_only && self.format.unwrap_or_default() == Format::Text;
        wanted.style = (!self.summary_only).then(|| {
            let usual = Style::default();
            let limit = self.string_limit.map(|limit| limit as usize);
            Style {
                string_bytes: limit.unwrap_or(usual.string_bytes),
                elements: limit.unwrap_or(usual.elements),
                paths: self.decode_fds > 0,
                ..usual
            }
        });
        Ok((wanted, quiet))
    }

    fn layout(&self, quiet: Quiet) -> Layout {
        Layout {
            times: match self.times {
                0 => Times::None,
                1 => Times::Seconds,
                2 => Times::Micros,
                _ => Times::Unix,
            },
            relative: self.relative_timestamps,
            took: self.syscall_times,
            numbers: self.syscall_number,
            column: self.columns.map_or(Layout::default().column, usize::from),
            quiet,
        }
    }
}

/// `-e quiet=`.
fn quieter(mut quiet: Quiet, kinds: &str) -> Result<Quiet, String> {
    for kind in kinds.split(',') {
        match kind {
            "attach" => quiet.attach = true,
            "exit" | "exits" => quiet.exit = true,
            "thread-execve" | "thread-exec" | "superseded" => quiet.superseded = true,
            "moves" => quiet.moves = true,
            // strace says these; here there is nothing to be quiet about.
            "personality" | "path-resolution" => {}
            "all" => quiet = Quiet { attach: true, exit: true, superseded: true, moves: true },
            "none" => quiet = Quiet::default(),
            _ => return Err(format!("invalid quiet '{kind}'")),
        }
    }
    Ok(quiet)
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
