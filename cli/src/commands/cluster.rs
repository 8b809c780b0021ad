//! `mosix init`, `token`, `invite`, `join`, `leave` and `node`: who is in the cluster.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use wire::identity::{self, Joining, Member, TOKEN_PREFIX, Token};
use wire::peer;

use crate::addresses;
use crate::daemon::Daemon;
use crate::table::{self, Column};

/// An invitation is below 4 KiB; a larger file is something else.
const MAX_INVITATION_BYTES: u64 = 64 << 10;

/// Addresses of one machine in a token.
const MAX_ADDRESSES: usize = 8;

/// Makes a cluster, with this machine as its first member.
pub fn init(dir: &Path, cluster: &str, machine: Option<String>) -> Result<()> {
    let machine = machine.unwrap_or_else(host_name);
    let cluster = identity::init_cluster(dir, cluster, &machine)?;
    println!("cluster {cluster} made, with {machine} as its first member, in {}", dir.display());
    println!("keep {} safe: whoever has it can let machines in", dir.join("ca.key").display());
    println!("to add a machine B, with mosixd running here:");
    println!("  here:  mosix token               (prints TOKEN)");
    println!("  on B:  mosix join TOKEN");
    println!("or, if B does not reach this machine yet, `mosix invite B` and a file");
    Ok(())
}

/// Prints a token.
pub fn token(dir: &Path, lifetime: Duration, given: &[String]) -> Result<()> {
    let mut found = Vec::new();
    for text in given {
        found.extend(addresses::resolve(text, peer::DEFAULT_PORT)?);
    }
    if given.is_empty() {
        found.extend(addresses::own().into_iter().map(|ip| SocketAddr::new(ip, peer::DEFAULT_PORT)));
        ensure!(
            !found.is_empty(),
            "this machine has no address that others reach: say --address HOST[:PORT]"
        );
    }
    found.truncate(MAX_ADDRESSES);
    let token = identity::make_token(dir, &found, lifetime)?;
    println!("{token}");
    let places = found.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    // Standard output is the token alone, for scripts.
    eprintln!("good once, for {}; on the machine that joins: mosix join TOKEN", words(lifetime));
    eprintln!("it will ask mosixd at {places} (UDP), which must run there until then");
    Ok(())
}

/// Writes the file with which another machine joins.
pub fn invite(dir: &Path, machine: &str, output: Option<PathBuf>) -> Result<()> {
    let path = output.unwrap_or_else(|| format!("{machine}.mosix").into());
    // Before the name is given away.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let bundle = identity::export_bundle(dir, machine).inspect_err(|_| {
        // It is empty and ours.
        let _ = std::fs::remove_file(&path);
    })?;
    file.write_all(bundle.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} lets {machine} in. It holds {machine}'s keys: copy it over ssh, then", path.display());
    println!("  on {machine}:  mosix join {}", path.file_name().unwrap_or_default().display());
    println!("and delete it on both machines");
    Ok(())
}

/// Joins with a token or a file.
pub fn join(dir: &Path, invitation: &Path, daemon: Option<&str>, machine: Option<String>) -> Result<()> {
    let standard_input = invitation == Path::new("-");
    let text = invitation.to_str().filter(|text| text.starts_with(TOKEN_PREFIX) && !invitation.exists());
    let bytes = match text {
        Some(token) => token.as_bytes().to_vec(),
        None => read(invitation, standard_input)?,
    };
    let name = match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with(TOKEN_PREFIX) => {
            by_token(dir, text, daemon, &machine.unwrap_or_else(host_name))?
        }
        _ => {
            ensure!(daemon.is_none() && machine.is_none(), "the file says itself who this machine is");
            let name = identity::import_bundle(dir, &bytes)?;
            if !standard_input {
                println!(
                    "delete {} here and where it was made: it holds this machine's keys",
                    invitation.display()
                );
            }
            name
        }
    };
    println!("this machine is now {} of cluster {}; start mosixd on it", name.name, name.cluster);
    Ok(())
}

fn read(invitation: &Path, standard_input: bool) -> Result<Vec<u8>> {
    let what = || format!("cannot read {} (it is no token either)", invitation.display());
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = match standard_input {
        true => Box::new(io::stdin()),
        false => Box::new(std::fs::File::open(invitation).with_context(what)?),
    };
    input.take(MAX_INVITATION_BYTES).read_to_end(&mut bytes).with_context(what)?;
    Ok(bytes)
}

fn by_token(dir: &Path, text: &str, daemon: Option<&str>, machine: &str) -> Result<wire::PeerName> {
    let token = Token::parse(text)?;
    ensure!(
        !token.is_expired(),
        "the token has expired by this machine's clock; make another with `mosix token`"
    );
    let places = match daemon {
        Some(daemon) => addresses::resolve(daemon, peer::DEFAULT_PORT)?,
        None => token.addresses().to_vec(),
    };
    let ca = token.ca_sha256();
    let joining = Joining::new(dir, token, machine)?;
    let request = joining.request()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = runtime.block_on(peer::enrol(&places, ca, request.into()))?;
    Ok(joining.finish(&response)?)
}

/// Removes this machine's identity.
pub fn leave(dir: &Path, even_ca: bool) -> Result<()> {
    if Daemon::own()?.is_some() {
        bail!("mosixd runs here with this identity: end it first (SIGTERM, or `systemctl stop mosixd`)");
    }
    identity::leave(dir, even_ca)?;
    println!(
        "this machine has left; its name stays taken until `mosix node remove` where the cluster was made"
    );
    Ok(())
}

/// A machine, as JSON has it.
#[derive(Serialize)]
struct Line {
    name: String,
    state: &'static str,
    /// Seconds since 1970.
    since: u64,
}

/// Lists all machines that were ever let in.
pub fn list(dir: &Path, json: bool) -> Result<()> {
    let state = |member: &Member| if member.removed { "removed" } else { "member" };
    let lines = identity::members(dir)?.into_iter().map(|member| {
        let state = state(&member);
        Line { name: member.name, state, since: member.since }
    });
    let lines: Vec<Line> = lines.collect();
    let mut out = io::stdout().lock();
    if json {
        return Ok(table::json(&mut out, &lines)?);
    }
    let rows: Vec<_> = lines.iter().map(|l| [l.name.clone(), l.state.to_owned(), date(l.since)]).collect();
    table::write(
        &mut out,
        [Column::Left("NAME"), Column::Left("STATE"), Column::Left("SINCE (UTC)")],
        &rows,
    )?;
    Ok(())
}

/// Takes a machine out of the cluster.
pub fn remove(dir: &Path, name: &str) -> Result<()> {
    identity::remove_member(dir, name)?;
    println!(
        "{name} and its users are out. The mosixd here tells the others; where it does not run, it will when it does"
    );
    Ok(())
}

/// In the largest unit that divides it.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds")];
    let unit = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    unit.map_or_else(String::new, |(unit, name)| match seconds / unit {
        1 => format!("1 {}", name.trim_end_matches('s')),
        n => format!("{n} {name}"),
    })
}

/// Date and time of day to the minute, UTC, of seconds since 1970.
fn date(unix: u64) -> String {
    let mut date = wire::utc::rfc3339(unix).replace('T', " ");
    date.truncate("2026-01-01 00:00".len());
    date
}

/// The host's name up to its first dot.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy();
    full.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_826_154), "2000-02-29 12:09");
        assert_eq!(date(4_102_444_799), "2099-12-31 23:59");
        assert_eq!(words(Duration::from_secs(900)), "15 minutes");
        assert_eq!(words(Duration::from_secs(3_600)), "1 hour");
        assert_eq!(words(Duration::from_secs(90)), "90 seconds");
    }
}
