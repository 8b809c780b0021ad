//! Who may speak: a cluster CA, and for each machine a node certificate (lends) and a user certificate
//! (borrows). Both sides of every link show theirs (mutual TLS 1.3, DESIGN D11).
//!
//! What a certificate says is one URI in its subject alternative names, `mosix://CLUSTER/node/NAME` or
//! `mosix://CLUSTER/user/NAME`; extended key usage repeats the role, so that X.509 path validation itself
//! refuses a user's certificate on a server. Host names are not checked: machines move, names do not.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

pub use self::error::IdentityError;
pub use self::revoked::{KeyId, Revoked};
pub use self::store::{ca_sha256, default_dir, export_bundle, import_bundle, init_cluster, issue, load};

mod error;
mod revoked;
mod store;
mod tls;
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
    /// Its own name, by default the host's.
    pub name: String,
}

impl std::fmt::Display for PeerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.role.as_str(), self.name)
    }
}

impl PeerName {
    fn uri(&self) -> String {
        format!("mosix://{}/{}/{}", self.cluster, self.role.as_str(), self.name)
    }

    fn parse(uri: &str) -> Option<PeerName> {
        let mut parts = uri.strip_prefix("mosix://")?.split('/');
        let (cluster, role, name) = (parts.next()?, parts.next()?, parts.next()?);
        let role = match role {
            "node" => Role::Node,
            "user" => Role::User,
            _ => return None,
        };
        if parts.next().is_some() || check_name(cluster).is_err() || check_name(name).is_err() {
            return None;
        }
        Some(PeerName { cluster: cluster.into(), role, name: name.into() })
    }

    /// What the certificate claims. Only after path validation is it also true.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<PeerName> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        parsed.valid_uri_names().find_map(PeerName::parse)
    }
}

/// SHA-256 (FIPS 180-4).
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

/// Names go into URIs, file names and terminals: letters, digits, dot, hyphen, underscore.
fn check_name(name: &str) -> Result<(), IdentityError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fine) || name.starts_with('.') {
        return Err(IdentityError::BadName(name.to_owned()));
    }
    Ok(())
}

/// One party's certificate and key, and the CA that it trusts.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    name: PeerName,
    /// DER.
    ca: Vec<u8>,
    /// DER.
    certificate: Vec<u8>,
    /// PKCS #8 DER.
    key: Vec<u8>,
}

/// Without the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// A home (a user) and a node of a cluster that exists only in this memory, for `--loopback`.
    pub fn ephemeral_pair() -> Result<(Identity, Identity), IdentityError> {
        let ca = Authority::create("loopback")?;
        Ok((ca.issue(Role::User, "home")?, ca.issue(Role::Node, "loopback")?))
    }

    /// What the certificate says.
    pub fn name(&self) -> &PeerName {
        &self.name
    }

    /// The keys by which it can be revoked.
    pub fn key_ids(&self) -> Vec<KeyId> {
        key_ids(self.chain().iter())
    }

    /// The certificates to show, its own first.
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.certificate.clone())]
    }

    /// Bytes that only the holder of this key knows, the same each time; of a purpose's own.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key);
        let mut derived = [0; 32];
        derived.copy_from_slice(ring::hmac::sign(&key, purpose.as_bytes()).as_ref());
        derived
    }

    /// For handing the identity to a child through a pipe. Contains the private key.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::message::encode(self)
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Identity, IdentityError> {
        crate::message::decode(bytes).map_err(|e| IdentityError::Damaged("identity".into(), e.to_string()))
    }
}

/// The right to make certificates of a cluster.
struct Authority {
    cluster: String,
    /// DER.
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new cluster. The random suffix keeps two clusters of the same name apart in messages and logs.
    fn create(name: &str) -> Result<Authority, IdentityError> {
        check_name(name)?;
        let mut suffix = [0u8; 4];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut suffix)
            .map_err(|_| IdentityError::Crypto("the system gives no random bytes".into()))?;
        let cluster = format!("{name}-{:08x}", u32::from_le_bytes(suffix));
        check_name(&cluster)?;
        let key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let params = authority_params(&cluster)?;
        let certificate = params.self_signed(&key).map_err(IdentityError::crypto)?.der().to_vec();
        Ok(Authority { cluster, certificate, issuer: Issuer::new(params, key) })
    }

    /// A cluster whose CA certificate and key (PEM) were read back.
    fn from_parts(certificate: Vec<u8>, key_pem: &str) -> Result<Authority, IdentityError> {
        let cluster = cluster_of(&certificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(IdentityError::crypto)?;
        Ok(Authority { issuer: Issuer::new(authority_params(&cluster)?, key), certificate, cluster })
    }

    fn issue(&self, role: Role, name: &str) -> Result<Identity, IdentityError> {
        check_name(name)?;
        let name = PeerName { cluster: self.cluster.clone(), role, name: name.to_owned() };
        let key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let mut params = params(&name.to_string(), &name.uri())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Role::User => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let certificate = params.signed_by(&key, &self.issuer).map_err(IdentityError::crypto)?;
        Ok(Identity {
            name,
            ca: self.certificate.clone(),
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
        })
    }
}

fn params(common_name: &str, uri: &str) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(IdentityError::crypto)?)];
    Ok(params)
}

/// The CA's name is a function of the cluster's, so that it can be rebuilt from the URI in `ca.crt`.
fn authority_params(cluster: &str) -> Result<CertificateParams, IdentityError> {
    let mut params = params(&format!("mosix cluster {cluster}"), &format!("mosix://{cluster}/ca"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

/// The cluster that a CA certificate (DER) is of.
fn cluster_of(ca: &[u8]) -> Result<String, IdentityError> {
    let der = CertificateDer::from(ca);
    let parsed = webpki::EndEntityCert::try_from(&der)
        .map_err(|e| IdentityError::Damaged("ca.crt".into(), e.to_string()))?;
    parsed
        .valid_uri_names()
        .find_map(|uri| uri.strip_prefix("mosix://")?.strip_suffix("/ca"))
        .filter(|cluster| check_name(cluster).is_ok())
        .map(str::to_owned)
        .ok_or_else(|| IdentityError::Damaged("ca.crt".into(), "it names no cluster".into()))
}
