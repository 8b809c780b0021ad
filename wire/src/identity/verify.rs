//! What is asked of the certificates that a peer shows: made by our CA, of the right role, not revoked.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::authority::issuer_of;
use super::tls::provider;
use super::{Identity, IdentityError, KeyId, PeerName, Revoked, Role};

/// Most certificates that a peer may show: its own, an issuer's, and the CA's.
const MAX_CHAIN: usize = 3;

/// Who is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(super) ca: CertificateDer<'static>,
    pub(super) revoked: Revoked,
    /// Only nodes, in either direction.
    pub(super) nodes_only: bool,
}

impl Rules {
    /// Who the peer is, if it may speak: a node whom the CA itself has certified, or a user of the machine whose issuer
    /// has certified it. `usage` is the extended key usage that it needs.
    pub(super) fn check(
        &self,
        provider: &CryptoProvider,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        usage: webpki::KeyUsage,
        now: UnixTime,
    ) -> Result<PeerName, Error> {
        if others.len() >= MAX_CHAIN {
            return Err(CertificateError::BadEncoding.into());
        }
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(path_error)?;
        let anchors = [webpki::anchor_from_trusted_cert(&self.ca).map_err(path_error)?];
        let algorithms = provider.signature_verification_algorithms.all;
        let path = parsed
            .verify_for_usage(algorithms, &anchors, others, now, usage, None, None)
            .map_err(path_error)?;
        let keys = key_ids(std::iter::once(certificate).chain(others));
        if self.revoked.has_any(&keys) {
            return Err(CertificateError::Revoked.into());
        }
        let name = PeerName::of_certificate(certificate).ok_or_else(wrong_role)?;
        let mut issuers = path.intermediate_certificates();
        let rightful = match (name.role, issuers.next(), issuers.next()) {
            (Role::Node, None, None) => true,
            (Role::User, Some(issuer), None) if !self.nodes_only => {
                issuer.valid_uri_names().find_map(issuer_of) == Some((&name.cluster, &name.node))
            }
            _ => false,
        };
        if rightful { Ok(name) } else { Err(wrong_role()) }
    }
}

/// Whether peers will accept a node's certificate, and one that it has issued for a user.
pub(super) fn prove(node: &Identity) -> Result<(), IdentityError> {
    let rules = node.rules(node.revoked().clone(), false);
    let provider = provider();
    for identity in [node, &node.issue_user("user")?] {
        let chain = identity.chain();
        let (own, others) = chain.split_first().ok_or(IdentityError::NoIssuer)?;
        rules
            .check(&provider, own, others, webpki::KeyUsage::client_auth(), UnixTime::now())
            .map_err(IdentityError::crypto)?;
    }
    Ok(())
}

/// The keys in what a peer shows.
pub(crate) fn key_ids<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Vec<KeyId> {
    chain.filter_map(KeyId::of_certificate).collect()
}

/// Each becomes a TLS alert, which the other end turns into words.
fn path_error(error: webpki::Error) -> Error {
    use webpki::Error as Path;
    match error {
        Path::CertExpired { .. } => CertificateError::Expired,
        Path::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Path::UnknownIssuer => CertificateError::UnknownIssuer,
        Path::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Path::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    }
    .into()
}

/// Becomes the alert access_denied (RFC 8446 §6.2).
fn wrong_role() -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

/// A server must hold a node certificate of our CA; its host name does not matter: machines move, names do not.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) rules: Rules,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usage = webpki::KeyUsage::server_auth();
        let name = self.rules.check(&self.provider, end_entity, intermediates, usage, now)?;
        if name.role != Role::Node {
            return Err(wrong_role());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A client must hold a certificate of our CA.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) rules: Rules,
    pub(super) provider: Arc<CryptoProvider>,
    /// One without a certificate may finish the handshake: what it may do then is decided by its ALPN.
    pub(super) strangers: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.strangers
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usage = webpki::KeyUsage::client_auth();
        self.rules
            .check(&self.provider, end_entity, intermediates, usage, now)
            .map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn only_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair, SanType,
    };
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::super::authority::{Authority, Issuing};
    use super::*;

    /// What the holder of an issuer's key might make, with openssl and bad intent.
    fn forge(issuing: &Issuing, uri: &str, usages: &[Usage]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(issuing.key.as_slice())).unwrap();
        let issuer = CertificateDer::from(issuing.certificate.clone());
        let parsed = webpki::EndEntityCert::try_from(&issuer).unwrap();
        let (cluster, machine) = parsed.valid_uri_names().find_map(issuer_of).unwrap();
        let mut names = CertificateParams::default();
        names.distinguished_name = rcgen::DistinguishedName::new();
        let name = format!("mosix issuer {machine} of {cluster}");
        names.distinguished_name.push(rcgen::DnType::CommonName, name);
        names.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(names, key)).unwrap().der().clone()
    }

    fn check(
        node: &Identity,
        nodes_only: bool,
        chain: &[CertificateDer<'static>],
        usage: webpki::KeyUsage,
    ) -> Result<PeerName, Error> {
        let rules = node.rules(node.revoked().clone(), nodes_only);
        rules.check(&provider(), &chain[0], &chain[1..], usage, UnixTime::now())
    }

    fn client() -> webpki::KeyUsage {
        webpki::KeyUsage::client_auth()
    }

    #[test]
    fn a_machine_vouches_for_its_own_users_and_nothing_else() {
        let authority = Authority::create("lab").unwrap();
        let (a, b) = (authority.issue_node("a").unwrap(), authority.issue_node("b").unwrap());
        let issuing = a.issuing.as_ref().unwrap();
        let issuer = CertificateDer::from(issuing.certificate.clone());
        let cluster = &authority.cluster;
        let with_issuer = |certificate| [certificate, issuer.clone()];

        let user = a.issue_user("alice").unwrap();
        let name = check(&b, false, &user.chain(), client()).unwrap();
        assert_eq!((name.to_string(), name.node.as_str()), ("user alice@a".to_owned(), "a"));
        assert!(check(&b, true, &user.chain(), client()).is_err(), "a user is no peer");
        assert!(check(&b, false, &user.chain()[..1], client()).is_err(), "without its issuer");
        let uri = format!("mosix://{cluster}/user/alice@a");
        let same = forge(issuing, &uri, &[Usage::ClientAuth]);
        assert!(check(&b, false, &with_issuer(same), client()).is_ok(), "the forger's tools work");

        let both = [Usage::ClientAuth, Usage::ServerAuth];
        let uri = format!("mosix://{cluster}/node/c");
        let node = with_issuer(forge(issuing, &uri, &both));
        assert_eq!(check(&b, false, &node, client()), Err(wrong_role()), "a node that the CA has not made");
        assert_eq!(check(&b, true, &node, client()), Err(wrong_role()));
        assert_eq!(
            check(&b, true, &node, webpki::KeyUsage::server_auth()),
            Err(CertificateError::InvalidPurpose.into())
        );
        let uri = format!("mosix://{cluster}/user/root@b");
        let other = forge(issuing, &uri, &[Usage::ClientAuth]);
        assert_eq!(
            check(&b, false, &with_issuer(other), client()),
            Err(wrong_role()),
            "another machine's user"
        );
        let uri = "mosix://other-00000000/user/alice@a".to_owned();
        let other = forge(issuing, &uri, &[Usage::ClientAuth]);
        assert_eq!(check(&b, false, &with_issuer(other), client()), Err(wrong_role()), "another cluster's");
        assert!(check(&b, false, std::slice::from_ref(&issuer), client()).is_err(), "the issuer itself");
        // An issuer below the issuer, which path length 0 forbids.
        let key = KeyPair::generate().unwrap();
        let below = Issuing { certificate: below_of(issuing, &key, cluster), key: key.serialize_der() };
        let deep = forge(&below, &format!("mosix://{cluster}/user/root@b"), &[Usage::ClientAuth]);
        let deep = [deep, CertificateDer::from(below.certificate), issuer];
        assert!(check(&b, false, &deep, client()).is_err(), "issuers issue no issuers");
    }

    /// An issuer for machine b that machine a has made.
    fn below_of(issuing: &Issuing, key: &KeyPair, cluster: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("mosix issuer b of {cluster}"));
        let uri = format!("mosix://{cluster}/issuer/b");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signer = KeyPair::try_from(&PrivatePkcs8KeyDer::from(issuing.key.as_slice())).unwrap();
        let mut names = CertificateParams::default();
        names.distinguished_name = rcgen::DistinguishedName::new();
        names.distinguished_name.push(rcgen::DnType::CommonName, format!("mosix issuer a of {cluster}"));
        names.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.signed_by(key, &Issuer::new(names, signer)).unwrap().der().to_vec()
    }

    #[test]
    fn a_users_certificate_ends() {
        let node = Authority::create("lab").unwrap().issue_node("a").unwrap();
        let chain = node.issue_user("alice").unwrap().chain();
        let rules = node.rules(Revoked::default(), false);
        let at = |later: Duration| {
            let now = Duration::from_secs(super::super::unix_now()) + later;
            rules.check(&provider(), &chain[0], &chain[1..], client(), UnixTime::since_unix_epoch(now))
        };
        assert!(at(super::super::USER_LIFETIME - Duration::from_secs(60)).is_ok());
        let late = at(super::super::USER_LIFETIME + Duration::from_secs(60));
        assert_eq!(late, Err(CertificateError::Expired.into()));
    }

    #[test]
    fn a_removed_machine_takes_its_users_along() {
        let authority = Authority::create("lab").unwrap();
        let (a, b) = (authority.issue_node("a").unwrap(), authority.issue_node("b").unwrap());
        let user = a.issue_user("alice").unwrap();
        b.revoked().replace(a.key_ids());
        let revoked = Err(CertificateError::Revoked.into());
        assert_eq!(check(&b, true, &a.chain(), client()), revoked);
        assert_eq!(check(&b, false, &user.chain(), client()), revoked);
        assert!(check(&b, false, &b.issue_user("bob").unwrap().chain(), client()).is_ok());
        // It comes back with new keys under its old name.
        let again = authority.issue_node("a").unwrap();
        assert!(check(&b, true, &again.chain(), client()).is_ok());
    }

    #[test]
    fn debug_shows_no_key() {
        let node = Authority::create("lab").unwrap().issue_node("a").unwrap();
        let text = format!("{node:?}");
        assert!(text.len() < 200, "{text}");
    }
}
