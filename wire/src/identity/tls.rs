//! TLS configurations of sessions, of daemons among themselves, and of joining.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, ConfigSide, DigitallySignedStruct, ServerConfig,
    SignatureScheme, WantsVerifier,
};

use super::verify::{ClientVerifier, Rules, ServerVerifier};
use super::{Identity, IdentityError, Revoked};

/// ALPN (RFC 7301) of sessions. One name for all versions: [`Hello`](crate::message::Hello) compares versions and can
/// say more than a TLS alert.
const SESSION_ALPN: &[u8] = b"mosix";

/// ALPN of daemons among themselves.
pub(crate) const PEER_ALPN: &[u8] = b"mosix-peer";

/// ALPN of a machine that wants to join. It shows no certificate.
pub(crate) const JOIN_ALPN: &[u8] = b"mosix-join";

/// AES-128-GCM and X25519 alone: every x86-64 since 2010 has AES instructions, and ChaCha20 would cost 35 to
/// 58 % of bulk speed (FIGURES).
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    })
}

impl Identity {
    pub(super) fn rules(&self, revoked: Revoked, nodes_only: bool) -> Rules {
        Rules { ca: CertificateDer::from(self.ca.clone()), revoked, nodes_only }
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// For the side that opens links.
pub(crate) fn client_tls(identity: &Identity) -> Result<ClientConfig, IdentityError> {
    client(identity, identity.rules(identity.revoked.clone(), false), SESSION_ALPN)
}

/// For the side that accepts links.
pub(crate) fn server_tls(identity: &Identity) -> Result<ServerConfig, IdentityError> {
    let rules = identity.rules(identity.revoked.clone(), false);
    server(identity, rules, false, identity.chain(), &[SESSION_ALPN])
}

/// For a daemon that calls another.
pub(crate) fn peer_client_tls(identity: &Identity, revoked: Revoked) -> Result<ClientConfig, IdentityError> {
    client(identity, identity.rules(revoked, true), PEER_ALPN)
}

/// For a daemon that is called. Whoever asks for [`PEER_ALPN`] without a certificate is to be sent away after the
/// handshake. The CA's certificate is shown too: a machine that joins knows only its hash.
pub(crate) fn peer_server_tls(identity: &Identity, revoked: Revoked) -> Result<ServerConfig, IdentityError> {
    let mut chain = identity.chain();
    chain.push(CertificateDer::from(identity.ca.clone()));
    server(identity, identity.rules(revoked, true), true, chain, &[PEER_ALPN, JOIN_ALPN])
}

/// For a machine that joins: the server's chain must end in the CA certificate that has this SHA-256.
pub(crate) fn join_tls(ca_sha256: [u8; 32]) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let mut config = tls13(ClientConfig::builder_with_provider(provider.clone()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier { ca_sha256, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    Ok(quiet(config))
}

fn client(identity: &Identity, rules: Rules, alpn: &[u8]) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let mut config = tls13(ClientConfig::builder_with_provider(provider.clone()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier { rules, provider }))
        .with_client_auth_cert(identity.chain(), identity.private_key())
        .map_err(IdentityError::crypto)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(quiet(config))
}

/// No resumption: 0-RTT could be replayed (FIGURES), and a full handshake costs under 1 ms once per session.
fn quiet(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config
}

fn server(
    identity: &Identity,
    rules: Rules,
    strangers: bool,
    chain: Vec<CertificateDer<'static>>,
    alpns: &[&[u8]],
) -> Result<ServerConfig, IdentityError> {
    let provider = provider();
    let verifier = ClientVerifier { rules, provider: provider.clone(), strangers };
    let mut config = tls13(ServerConfig::builder_with_provider(provider))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, identity.private_key())
        .map_err(IdentityError::crypto)?;
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn tls13<S: ConfigSide>(
    builder: ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, IdentityError> {
    builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(IdentityError::crypto)
}

/// Knows the CA by its hash alone.
#[derive(Debug)]
struct PinnedVerifier {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    /// By the usual rules, once the CA is known.
    fn with_ca(&self, ca: CertificateDer<'static>) -> ServerVerifier {
        let rules = Rules { ca, revoked: Revoked::default(), nodes_only: true };
        ServerVerifier { rules, provider: self.provider.clone() }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (ca, others) = intermediates
            .split_last()
            .filter(|(ca, _)| super::sha256(ca) == self.ca_sha256)
            .ok_or(CertificateError::UnknownIssuer)?;
        self.with_ca(ca.clone().into_owned()).verify_server_cert(
            end_entity,
            others,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// For the test of a peer that has none.
#[cfg(test)]
pub(crate) fn no_client_certificate() -> Arc<dyn rustls::client::ResolvesClientCert> {
    #[derive(Debug)]
    struct Nothing;
    impl rustls::client::ResolvesClientCert for Nothing {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
        fn has_certs(&self) -> bool {
            false
        }
    }
    Arc::new(Nothing)
}
