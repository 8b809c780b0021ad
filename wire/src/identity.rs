//! Who may speak: a cluster CA, for each machine a node certificate, and for its users certificates that the machine makes
//! itself. Both sides of every link show theirs (mutual TLS 1.3, DESIGN D11).
//!
//! ```text
//! CA ─┬─ node A                     years; lends, and speaks with other daemons
//!     └─ issuer A ─── user X of A   one hour; opens sessions
//! ```
//!
//! What a certificate says is one URI in its subject alternative names: `mosix://CLUSTER/node/NAME`,
//! `mosix://CLUSTER/issuer/NAME` or `mosix://CLUSTER/user/USER@NAME`. Extended key usage repeats the role, so that X.509
//! path validation itself refuses a user's certificate on a server, and `verify` adds what it cannot say: the CA
//! alone makes nodes, and issuer A only users of A. Host names are not checked: machines move, names do not.

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

pub use self::authority::USER_LIFETIME;
pub use self::bundle::{export_bundle, import_bundle};
pub use self::enrol::{Enrolment, Joining, answer_enrolment};
pub use self::error::IdentityError;
pub use self::members::{Member, members, remove_member};
pub use self::revocation::RevokedFile;
pub use self::revoked::{KeyId, Revoked};
pub use self::store::{ca_sha256, default_dir, init_cluster, is_authority, issue, leave, load};
pub use self::token::{TOKEN_LIFETIME, TOKEN_PREFIX, Token, make_token};

use self::authority::{Authority, Issuing};

mod authority;
mod bundle;
mod enrol;
mod error;
mod members;
mod revocation;
mod revoked;
mod store;
mod tls;
mod token;
mod verify;

#[cfg(test)]
pub(crate) use self::tls::no_client_certificate;
pub(crate) use self::tls::{
    JOIN_ALPN, PEER_ALPN, client_tls, join_tls, peer_client_tls, peer_server_tls, server_tls,
};
pub(crate) use self::verify::key_ids;

/// Longest cluster, node or user name. A host name label has at most 63 octets (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 63;

/// What a certificate entitles to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Accepts links and lends CPU and memory; may also open links to other nodes.
    Node,
    /// Opens links to nodes to run commands there.
    User,
}

impl Role {
    /// As it stands in URIs and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::User => "user",
        }
    }
}

/// What a certificate says about its holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerName {
    /// The cluster's name and a random suffix, such as `lab-5d01f3a2`.
    pub cluster: String,
    /// What it may do.
    pub role: Role,
    /// Its own name: a node's, by default its host's, or a user's.
    pub name: String,
    /// The machine: for a node its own name, for a user the node that vouches for it.
    pub node: String,
}

impl std::fmt::Display for PeerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.role {
            Role::Node => write!(f, "node {}", self.name),
            Role::User => write!(f, "user {}@{}", self.name, self.node),
        }
    }
}

impl PeerName {
    pub(crate) fn of_node(cluster: &str, name: &str) -> PeerName {
        PeerName { cluster: cluster.into(), role: Role::Node, name: name.into(), node: name.into() }
    }

    fn uri(&self) -> String {
        match self.role {
            Role::Node => format!("mosix://{}/node/{}", self.cluster, self.name),
            Role::User => format!("mosix://{}/user/{}@{}", self.cluster, self.name, self.node),
        }
    }

    fn parse(uri: &str) -> Option<PeerName> {
        let (cluster, kind, name) = split_uri(uri)?;
        let (role, name, node) = match kind {
            "node" => (Role::Node, name, name),
            "user" => {
                let (user, node) = name.split_once('@')?;
                (Role::User, user, node)
            }
            _ => return None,
        };
        check_name(name).and_then(|()| check_name(node)).ok()?;
        Some(PeerName { cluster: cluster.into(), role, name: name.into(), node: node.into() })
    }

    /// What the certificate claims. Only after path validation is it also true.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<PeerName> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        parsed.valid_uri_names().find_map(PeerName::parse)
    }
}

/// Cluster, kind and name of a certificate's URI.
fn split_uri(uri: &str) -> Option<(&str, &str, &str)> {
    let mut parts = uri.strip_prefix("mosix://")?.split('/');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && check_name(found.0).is_ok()).then_some(found)
}

/// Names go into URIs, file names and terminals: letters, digits, dot, hyphen, underscore.
fn check_name(name: &str) -> Result<(), IdentityError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fine) || name.starts_with('.') {
        return Err(IdentityError::BadName(name.to_owned()));
    }
    Ok(())
}

/// A user's name for its certificate: as /etc/passwd has it (passwd(5)), `uid-N` where that has none or one that
/// certificates cannot carry.
pub fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid) && check_name(name).is_ok()).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{uid}"))
}

/// One party's certificate and key, the CA that it trusts, and whom it trusts no more.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    name: PeerName,
    /// DER.
    ca: Vec<u8>,
    /// What it shows, in DER: its own certificate and, for a user, the issuer's.
    chain: Vec<Vec<u8>>,
    /// PKCS #8 DER.
    key: Vec<u8>,
    /// A node's right to make users' certificates.
    issuing: Option<Issuing>,
    #[serde(skip)]
    revoked: Revoked,
}

/// Without keys.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// A home (a user) and a node of a cluster that exists only in this memory, for `--loopback`.
    pub fn ephemeral_pair() -> Result<(Identity, Identity), IdentityError> {
        let node = Authority::create("loopback")?.issue_node("loopback")?;
        Ok((node.issue_user("home")?, node))
    }

    /// What the certificate says.
    pub fn name(&self) -> &PeerName {
        &self.name
    }

    /// Makes a certificate for a user of this node, valid for [`USER_LIFETIME`].
    pub fn issue_user(&self, user: &str) -> Result<Identity, IdentityError> {
        let issuing = self.issuing.as_ref().ok_or(IdentityError::NoIssuer)?;
        issuing.issue_user(self, user)
    }

    /// Whom links of this identity refuse, either way. Empty at first, but for an identity that was [loaded](load);
    /// [`RevokedFile`] keeps it up to date.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The keys by which it can be revoked.
    pub fn key_ids(&self) -> Vec<KeyId> {
        let issuer =
            self.issuing.as_ref().map(|issuing| CertificateDer::from(issuing.certificate.as_slice()));
        key_ids(self.chain().iter().chain(&issuer))
    }

    /// The certificates to show, its own first.
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().cloned().map(CertificateDer::from).collect()
    }

    /// Bytes that only the holder of this key knows, the same each time; of a purpose's own.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key);
        let mut derived = [0; 32];
        derived.copy_from_slice(ring::hmac::sign(&key, purpose.as_bytes()).as_ref());
        derived
    }

    /// For handing the identity to a child through a pipe. Contains private keys; the revoked are not in it.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::message::encode(self)
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Identity, IdentityError> {
        crate::message::decode(bytes).map_err(|e| IdentityError::Damaged("identity".into(), e.to_string()))
    }
}

/// SHA-256 (FIPS 180-4).
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

/// Random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| IdentityError::Crypto("the system gives no random bytes".into()))?;
    Ok(bytes)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
