//! Making certificates: the cluster's CA for machines, and each machine for its users.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::{Identity, IdentityError, PeerName, Revoked, Role, check_name, random, split_uri, unix_now};

/// How long a user's certificate is good for: longer than any start of a session, short enough that nobody needs to
/// revoke one. Sessions that run go on.
pub const USER_LIFETIME: Duration = Duration::from_secs(3_600);

/// How far behind the clock of a machine may be that is shown a fresh user's certificate.
const CLOCK_SKEW: Duration = Duration::from_secs(600);

/// The right to make certificates of a cluster.
pub(super) struct Authority {
    pub(super) cluster: String,
    /// DER.
    pub(super) certificate: Vec<u8>,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new cluster. The random suffix keeps two clusters of the same name apart in messages and logs.
    pub(super) fn create(name: &str) -> Result<Authority, IdentityError> {
        check_name(name)?;
        let cluster = format!("{name}-{:08x}", u32::from_le_bytes(random()?));
        check_name(&cluster)?;
        let key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let params = authority_params(&cluster)?;
        let certificate = params.self_signed(&key).map_err(IdentityError::crypto)?.der().to_vec();
        Ok(Authority { cluster, certificate, issuer: Issuer::new(params, key) })
    }

    /// A cluster whose CA certificate and key (PEM) were read back.
    pub(super) fn from_parts(certificate: Vec<u8>, key_pem: &str) -> Result<Authority, IdentityError> {
        let cluster = cluster_of(&certificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(IdentityError::crypto)?;
        Ok(Authority { issuer: Issuer::new(authority_params(&cluster)?, key), certificate, cluster })
    }

    /// Certificates (DER) of a machine's two keys: for the node itself, and for issuing its users'.
    pub(super) fn certify(
        &self,
        machine: &str,
        node: &impl PublicKeyData,
        issuer: &impl PublicKeyData,
    ) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        check_name(machine)?;
        let name = PeerName::of_node(&self.cluster, machine);
        let mut params = params(&name.to_string(), &name.uri())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let node = params.signed_by(node, &self.issuer).map_err(IdentityError::crypto)?;
        let issuer = issuer_params(&self.cluster, machine)?
            .signed_by(issuer, &self.issuer)
            .map_err(IdentityError::crypto)?;
        Ok((node.der().to_vec(), issuer.der().to_vec()))
    }

    /// Keys and certificates of a machine, made here.
    pub(super) fn issue_node(&self, machine: &str) -> Result<Identity, IdentityError> {
        let node_key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let issuer_key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let (node, issuer) = self.certify(machine, &node_key, &issuer_key)?;
        Ok(Identity {
            name: PeerName::of_node(&self.cluster, machine),
            ca: self.certificate.clone(),
            chain: vec![node],
            key: node_key.serialize_der(),
            issuing: Some(Issuing { certificate: issuer, key: issuer_key.serialize_der() }),
            revoked: Revoked::default(),
        })
    }
}

/// A node's right to make certificates of its users.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issuing {
    /// DER.
    pub(super) certificate: Vec<u8>,
    /// PKCS #8 DER.
    pub(super) key: Vec<u8>,
}

impl Issuing {
    pub(super) fn issue_user(&self, node: &Identity, user: &str) -> Result<Identity, IdentityError> {
        check_name(user)?;
        let PeerName { cluster, node: machine, .. } = &node.name;
        let issuer_key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(self.key.as_slice()))
            .map_err(IdentityError::crypto)?;
        let issuer = Issuer::new(issuer_params(cluster, machine)?, issuer_key);
        let name =
            PeerName { cluster: cluster.clone(), role: Role::User, name: user.into(), node: machine.clone() };
        let key = KeyPair::generate().map_err(IdentityError::crypto)?;
        let mut params = params(&name.to_string(), &name.uri())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_now());
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + USER_LIFETIME;
        let certificate = params.signed_by(&key, &issuer).map_err(IdentityError::crypto)?;
        Ok(Identity {
            name,
            ca: node.ca.clone(),
            chain: vec![certificate.der().to_vec(), self.certificate.clone()],
            key: key.serialize_der(),
            issuing: None,
            revoked: node.revoked.clone(),
        })
    }
}

/// A public key (an uncompressed point of P-256) whose private key is elsewhere.
pub(super) struct PublicKey<'a>(pub(super) &'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
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
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

/// An issuer's name is a function of the machine's. Its key usage excludes servers, so that already path validation (RFC
/// 5280 §4.2.1.12 as webpki reads it) takes no server's certificate from it.
fn issuer_params(cluster: &str, machine: &str) -> Result<CertificateParams, IdentityError> {
    let name = format!("mosix issuer {machine} of {cluster}");
    let mut params = params(&name, &format!("mosix://{cluster}/issuer/{machine}"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// The cluster and the machine that an issuer's URI names.
pub(super) fn issuer_of(uri: &str) -> Option<(&str, &str)> {
    split_uri(uri).and_then(|(cluster, kind, machine)| (kind == "issuer").then_some((cluster, machine)))
}

/// The cluster that a CA certificate (DER) is of.
pub(super) fn cluster_of(ca: &[u8]) -> Result<String, IdentityError> {
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
