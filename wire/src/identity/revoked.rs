//! Whom the cluster no longer trusts, as this process knows it.
//!
//! What is revoked is a public key, not a name, which may join again, and not a certificate's hash or bytes: an ECDSA
//! signature (r, s) has a twin (r, −s) that anyone can compute, and the certificate that carries it is as valid and hashes
//! differently. The key stands in what is signed. A revoked issuer's key takes with it all that it has issued, since
//! every certificate that a peer shows is looked up.

use std::collections::HashSet;
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
        let key = parsed.subject_public_key_info();
        Some(KeyId(super::sha256(&key)))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keys that are refused. Clones share one set; those who hold it see a change at once.
#[derive(Clone, Debug)]
pub struct Revoked(Arc<watch::Sender<HashSet<KeyId>>>);

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

    /// For waiting until the set changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<HashSet<KeyId>> {
        self.0.subscribe()
    }
}
