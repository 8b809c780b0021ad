//! What is asked of the certificates that a peer shows: made by our CA, of the right role, not revoked.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{KeyId, PeerName, Revoked, Role};

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
    /// Who the peer is, if it may speak. `usage` is the extended key usage that it needs.
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
        parsed.verify_for_usage(algorithms, &anchors, others, now, usage, None, None).map_err(path_error)?;
        let keys = key_ids(std::iter::once(certificate).chain(others));
        if self.revoked.has_any(&keys) {
            return Err(CertificateError::Revoked.into());
        }
        match PeerName::of_certificate(certificate) {
            Some(name) if name.role == Role::Node || !self.nodes_only => Ok(name),
            _ => Err(wrong_role()),
        }
    }
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
