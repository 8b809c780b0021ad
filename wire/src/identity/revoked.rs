//! Whom the cluster no longer trusts, as this process knows it.
//!
//! What is revoked is a public key, not a name, which may join again, and not a certificate's hash or bytes: an ECDSA
//! signature (r, s) has a twin (r, −s) that anyone can compute, and the certificate that carries it is as valid and hashes
//! differently. The key stands in what is signed. A revoked issuer's key takes with it all that it has issued, since
//! every certificate that a peer shows is looked up.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// None for what is no certificate.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<KeyId> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(KeyId::of_key(&parsed.subject_public_key_info()))
    }

    /// Of a SubjectPublicKeyInfo in DER.
    pub(super) fn of_key(key: &[u8]) -> KeyId {
        KeyId(super::sha256(key))
    }

    /// The reverse of `to_string`.
    pub fn parse(text: &str) -> Option<KeyId> {
        unhex(text).map(KeyId)
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..8]))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse, of exactly 32 bytes.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Keys that are refused. Clones share one set; those who hold it see a change at once.
#[derive(Clone)]
pub struct Revoked(Arc<watch::Sender<HashSet<KeyId>>>);

/// How many.
impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.borrow().len())
    }
}

impl Default for Revoked {
    fn default() -> Revoked {
        Revoked(Arc::new(watch::Sender::new(HashSet::new())))
    }
}

impl Revoked {
    /// Makes the set this one.
    pub fn replace(&self, keys: impl IntoIterator<Item = KeyId>) {
        let keys: HashSet<KeyId> = keys.into_iter().collect();
        self.0.send_if_modified(|now| {
            let changed = *now != keys;
            *now = keys;
            changed
        });
    }

    /// Whether one of these is revoked.
    pub fn has_any(&self, keys: &[KeyId]) -> bool {
        let revoked = self.0.borrow();
        keys.iter().any(|key| revoked.contains(key))
    }

    /// All of them.
    pub fn keys(&self) -> Vec<KeyId> {
        self.0.borrow().iter().copied().collect()
    }

    /// For waiting until the set changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<HashSet<KeyId>> {
        self.0.subscribe()
    }
}
