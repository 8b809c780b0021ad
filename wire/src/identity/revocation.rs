//! The list of those who were removed, signed by the CA: made by `mosix node remove`, kept by every machine in its
//! `revoked`, and handed on by daemons. A list holds all that were ever removed, and the one with the highest number
//! counts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rcgen::SigningKey;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::authority::Authority;
use super::store::{Lock, damaged, read as read_file, write};
use super::{Identity, IdentityError, KeyId, Revoked, unix_now};

/// Begins what is signed. A certificate, which the same key signs, begins with the tag of a DER SEQUENCE.
const SIGNED: &[u8] = b"mosix revocation list 1\0";

/// Longest list: it travels in one answer of a daemon, and holds 6,000 machines. Then the cluster has to be made anew.
const MAX_LIST_BYTES: usize = 900 << 10;

/// A machine that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removed {
    pub(super) name: String,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Of its node certificate and of its issuer's.
    pub(super) keys: [KeyId; 2],
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    /// Grows from list to list.
    sequence: u64,
    pub(super) removed: Vec<Removed>,
}

/// As it is stored and sent.
#[derive(Serialize, Deserialize)]
struct Sealed {
    list: ByteBuf,
    /// ECDSA P-256 with SHA-256 over [`SIGNED`] and the list.
    signature: ByteBuf,
}

impl List {
    pub(super) fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.removed.iter().flat_map(|removed| removed.keys)
    }

    fn seal(&self, authority: &Authority) -> Result<Vec<u8>, IdentityError> {
        let list = crate::message::encode(self);
        let signature =
            authority.issuer.key().sign(&[SIGNED, &list].concat()).map_err(IdentityError::crypto)?;
        let sealed = crate::message::encode(&Sealed { list: list.into(), signature: signature.into() });
        if sealed.len() > MAX_LIST_BYTES {
            return Err(IdentityError::Full(self.removed.len()));
        }
        Ok(sealed)
    }

    /// Reads a list and checks that the CA has signed it.
    fn unseal(bytes: &[u8], ca: &[u8]) -> Result<List, IdentityError> {
        let wrong = |what: &str| IdentityError::Damaged("a list of removed machines".into(), what.to_owned());
        if bytes.len() > MAX_LIST_BYTES {
            return Err(wrong("it is too long"));
        }
        let sealed: Sealed = crate::message::decode(bytes).map_err(|e| wrong(&e.to_string()))?;
        let ca = CertificateDer::from(ca);
        let signer = webpki::EndEntityCert::try_from(&ca).map_err(|e| wrong(&e.to_string()))?;
        signer
            .verify_signature(
                webpki::ring::ECDSA_P256_SHA256,
                &[SIGNED, &sealed.list].concat(),
                &sealed.signature,
            )
            .map_err(|_| wrong("this cluster's CA has not signed it"))?;
        crate::message::decode(&sealed.list).map_err(|e| wrong(&e.to_string()))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("revoked")
}

/// The list of a directory, if there is one, and its bytes as they are sent.
pub(super) fn read(dir: &Path, ca: &[u8]) -> Result<Option<(List, Vec<u8>)>, IdentityError> {
    match read_file(&path(dir)) {
        Ok(bytes) => {
            let list = List::unseal(&bytes, ca).map_err(|error| damaged(&path(dir), error))?;
            Ok(Some((list, bytes)))
        }
        Err(IdentityError::File { error: rustix::io::Errno::NOENT, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a list that came from elsewhere into a directory. The caller holds its lock.
pub(super) fn store(dir: &Path, ca: &[u8], bytes: &[u8]) -> Result<(), IdentityError> {
    List::unseal(bytes, ca)?;
    write(&path(dir), bytes)
}

/// Writes one more down. The caller holds the directory's lock.
pub(super) fn append(dir: &Path, authority: &Authority, removed: Removed) -> Result<(), IdentityError> {
    let mut list = read(dir, &authority.certificate)?.map(|(list, _)| list).unwrap_or_default();
    // Not just the next: one whose directory was put back from a copy must not give a number again.
    list.sequence = unix_now().max(list.sequence + 1);
    list.removed.push(removed);
    write(&path(dir), &list.seal(authority)?)
}

/// The list of an identity's directory, followed: what is in it stands in the identity's [`Identity::revoked`].
#[derive(Debug)]
pub struct RevokedFile {
    dir: PathBuf,
    ca: Vec<u8>,
    /// What the file was like when it was read: inode, time of change in ns, size.
    seen: Option<(u64, i64, u64)>,
    sequence: u64,
    bytes: Bytes,
    revoked: Revoked,
}

impl RevokedFile {
    /// Reads the list of an identity's directory.
    pub fn open(dir: &Path, identity: &Identity) -> Result<RevokedFile, IdentityError> {
        let mut file = RevokedFile {
            dir: dir.to_owned(),
            ca: identity.ca.clone(),
            seen: None,
            sequence: 0,
            bytes: Bytes::new(),
            revoked: identity.revoked.clone(),
        };
        file.refresh()?;
        Ok(file)
    }

    /// Looks whether another process has changed the file, and if so reads it; costs one stat(2) if not. True if there
    /// is a newer list. After an error the old one holds.
    pub fn refresh(&mut self) -> Result<bool, IdentityError> {
        let seen = std::fs::metadata(path(&self.dir)).ok().map(|now| {
            let changed_ns = now.mtime().saturating_mul(1_000_000_000).saturating_add(now.mtime_nsec());
            (now.ino(), changed_ns, now.size())
        });
        if seen == self.seen {
            return Ok(false);
        }
        // Also if it cannot be read: that is said once.
        self.seen = seen;
        let Some((list, bytes)) = read(&self.dir, &self.ca)? else { return Ok(false) };
        Ok(self.take(list, bytes.into()))
    }

    /// Takes the list that another daemon has, if it is newer, and writes it to the directory. True if it is. What it says
    /// holds here even if it cannot be written, which is an error.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<bool, IdentityError> {
        let list = List::unseal(bytes, &self.ca)?;
        if !self.take(list, Bytes::copy_from_slice(bytes)) {
            return Ok(false);
        }
        let _lock = Lock::take(&self.dir)?;
        // Where the cluster was made it may have become newer still meanwhile.
        match read(&self.dir, &self.ca) {
            Ok(Some((list, _))) if list.sequence >= self.sequence => {}
            _ => write(&path(&self.dir), bytes)?,
        }
        Ok(true)
    }

    /// The number of the list; 0 if nobody was ever removed. A daemon that is told a higher one asks for it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The list, for [`merge`](Self::merge) elsewhere; empty if nobody was ever removed.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The keys in it.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    fn take(&mut self, list: List, bytes: Bytes) -> bool {
        let newer = list.sequence > self.sequence;
        if newer {
            self.sequence = list.sequence;
            self.bytes = bytes;
            self.revoked.replace(list.keys());
        }
        newer
    }
}
