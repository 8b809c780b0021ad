//! Who is in the cluster, kept where it was made: `members`, a line for each machine with its name, when it was let in,
//! and the keys by which it can be removed.

use std::path::Path;

use super::revocation::Removed;
use super::store::{Lock, damaged, open_authority, read_lines, write};
use super::{Identity, IdentityError, KeyId, PeerName, check_name, revocation, unix_now};

/// Machines of a cluster; a name counts once. Ten times what the gossip has been simulated with.
const MAX_MEMBERS: usize = 50_000;

/// A machine that was let in, and perhaps removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// When it was let in, or when it was removed: seconds since 1970.
    pub since: u64,
    /// Whether it was removed.
    pub removed: bool,
}

/// A line of `members`.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) since: u64,
    /// Of its node certificate and of its issuer's.
    pub(super) keys: [KeyId; 2],
}

/// All that were ever let in, those that were removed last. Only where the cluster was made.
pub fn members(dir: &Path) -> Result<Vec<Member>, IdentityError> {
    let authority = open_authority(dir)?;
    let present = read(dir)?.into_iter();
    let present = present.map(|e| Member { name: e.name, since: e.since, removed: false });
    let removed = revocation::read(dir, &authority.certificate)?.map(|(list, _)| list.removed);
    let removed = removed.unwrap_or_default().into_iter();
    let removed = removed.map(|r| Member { name: r.name, since: r.at, removed: true });
    Ok(present.chain(removed).collect())
}

/// Takes a machine out of the cluster: its keys, and with its issuer's key all users that it vouches for, are refused by
/// each daemon that has heard of it. It may join again with new keys. Only where the cluster was made, and not for the
/// machine where it was made.
pub fn remove_member(dir: &Path, name: &str) -> Result<(), IdentityError> {
    let authority = open_authority(dir)?;
    if super::load(dir, super::Role::Node)?.name.name == name {
        return Err(IdentityError::RemoveSelf(name.to_owned()));
    }
    let _lock = Lock::take(dir)?;
    let mut entries = read(dir)?;
    let at = entries.iter().position(|entry| entry.name == name);
    let entry = entries.remove(at.ok_or_else(|| IdentityError::NoMember(name.to_owned()))?);
    let removed = Removed { name: entry.name, at: unix_now(), keys: entry.keys };
    // First: if the second does not come about, the machine is out all the same.
    revocation::append(dir, &authority, removed)?;
    save(dir, &entries)
}

/// Writes a machine down that was let in. The caller holds the directory's lock.
pub(super) fn add(dir: &Path, node: &Identity) -> Result<(), IdentityError> {
    let keys = <[KeyId; 2]>::try_from(node.key_ids()).map_err(|_| IdentityError::NoIssuer)?;
    add_keys(dir, &node.name, keys)
}

/// The same. A name is given once; to the same keys again.
pub(super) fn add_keys(dir: &Path, name: &PeerName, keys: [KeyId; 2]) -> Result<(), IdentityError> {
    let mut entries = read(dir)?;
    if let Some(entry) = entries.iter().find(|entry| entry.name == name.name) {
        return match entry.keys == keys {
            true => Ok(()),
            false => Err(IdentityError::NameTaken(name.name.clone())),
        };
    }
    if entries.len() >= MAX_MEMBERS {
        return Err(IdentityError::Full(MAX_MEMBERS));
    }
    entries.push(Entry { name: name.name.clone(), since: unix_now(), keys });
    save(dir, &entries)
}

fn read(dir: &Path) -> Result<Vec<Entry>, IdentityError> {
    let path = dir.join("members");
    let parse = |line: &String| {
        let mut fields = line.split(' ');
        let name = fields.next().filter(|name| check_name(name).is_ok())?;
        let since = fields.next()?.parse().ok()?;
        let keys = [KeyId::parse(fields.next()?)?, KeyId::parse(fields.next()?)?];
        fields.next().is_none().then(|| Entry { name: name.into(), since, keys })
    };
    let lines = read_lines(&path)?;
    lines
        .iter()
        .map(|line| parse(line).ok_or_else(|| damaged(&path, format!("no member is {line:?}"))))
        .collect()
}

fn save(dir: &Path, entries: &[Entry]) -> Result<(), IdentityError> {
    let line = |e: &Entry| format!("{} {} {} {}\n", e.name, e.since, e.keys[0], e.keys[1]);
    write(&dir.join("members"), entries.iter().map(line).collect::<String>().as_bytes())
}
