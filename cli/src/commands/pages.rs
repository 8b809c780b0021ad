//! `mosix completions` and `mosix man`: what is made from the command lines' definitions.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

fn definitions() -> [Command; 2] {
    [crate::mosix::Arguments::command(), crate::run::Arguments::command()]
}

/// Prints a program's completion script.
pub fn completions(shell: Shell, program: &str) -> Result<()> {
    let mut command = definitions()
        .into_iter()
        .find(|command| command.get_name() == program)
        .with_context(|| format!("{program} is not one of mosix and mosix-run"))?;
    clap_complete::generate(shell, &mut command, program, &mut io::stdout());
    Ok(())
}

/// Writes manual pages of section 1: one for each program and one for each subcommand.
pub fn manual(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for mut command in definitions() {
        // Gives subcommands their full names and the global options.
        command.build();
        pages(&command, command.get_name(), dir)?;
    }
    Ok(())
}

fn pages(command: &Command, name: &str, dir: &Path) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    clap_mangen::Man::new(command.clone())
        .title(name)
        .source(concat!("mosix-run ", env!("CARGO_PKG_VERSION")))
        .render(&mut file)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for sub in subcommands {
        pages(sub, &format!("{name}-{}", sub.get_name()), dir)?;
    }
    Ok(())
}
