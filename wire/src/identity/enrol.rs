//! Joining by a token. The machine that joins makes its keys and sends the public ones, each with a signature that shows
//! that it has the private one, which is all that a PKCS #10 request would say; the machine where the cluster was made
//! answers with certificates.
//!
//! The secret travels only to a server whose certificate comes from the CA that the token names
//! ([`peer::enrol`](crate::peer::enrol)).

use std::path::Path;

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::authority::PublicKey;
use super::store::{Lock, assemble, enter_new, open_authority, save};
use super::token::redeem;
use super::{IdentityError, KeyId, PeerName, Token, check_name, members, revocation, sha256, verify};

/// Of the two messages.
const VERSION: u16 = 1;

/// What a key is for; part of what is signed, so that one cannot be shown as the other.
const NODE: &str = "node";
const ISSUER: &str = "issuer";

#[derive(Serialize, Deserialize)]
struct Request {
    version: u16,
    secret: [u8; 16],
    machine: String,
    node: Applicant,
    issuer: Applicant,
}

/// A public key and the proof that the applicant has the private one.
#[derive(Serialize, Deserialize)]
struct Applicant {
    /// Uncompressed point of P-256 (SEC 1 §2.3.3).
    point: ByteBuf,
    /// ECDSA over [`signed`].
    proof: ByteBuf,
}

#[derive(Serialize, Deserialize)]
enum Response {
    Admitted { ca: ByteBuf, node: ByteBuf, issuer: ByteBuf, revoked: Option<ByteBuf> },
    Refused(String),
}

/// What an applicant signs: nothing that is signed elsewhere begins so.
fn signed(purpose: &str, ca_sha256: &[u8; 32], secret: &[u8; 16], machine: &str) -> Vec<u8> {
    let text = format!("mosix enrolment {VERSION} {purpose} {machine}\0");
    [text.as_bytes(), ca_sha256, secret].concat()
}

/// A machine between its request and the response: its keys are here and nowhere else.
pub struct Joining {
    token: Token,
    machine: String,
    node: KeyPair,
    issuer: KeyPair,
}

/// Without keys.
impl std::fmt::Debug for Joining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joining").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Joining {
    /// Makes keys for this machine, under the name that it wants.
    pub fn new(token: Token, machine: &str) -> Result<Joining, IdentityError> {
        check_name(machine)?;
        let key = || KeyPair::generate().map_err(IdentityError::crypto);
        Ok(Joining { token, machine: machine.to_owned(), node: key()?, issuer: key()? })
    }

    /// What to send to the daemon. Secret: it holds the token's secret.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let applicant = |key: &KeyPair, purpose| {
            let signed = signed(purpose, &self.token.ca_sha256(), &self.token.secret(), &self.machine);
            let proof = key.sign(&signed).map_err(IdentityError::crypto)?;
            Ok(Applicant { point: ByteBuf::from(key.der_bytes()), proof: ByteBuf::from(proof) })
        };
        Ok(crate::message::encode(&Request {
            version: VERSION,
            secret: self.token.secret(),
            machine: self.machine.clone(),
            node: applicant(&self.node, NODE)?,
            issuer: applicant(&self.issuer, ISSUER)?,
        }))
    }

    /// Takes the response, checks that it is what was asked for, and writes this machine's identity.
    pub fn finish(&self, dir: &Path, response: &[u8]) -> Result<PeerName, IdentityError> {
        let wrong = |what: &str| IdentityError::Damaged("the response".into(), what.to_owned());
        let response = crate::message::decode(response).map_err(|e| wrong(&e.to_string()))?;
        let (ca, node, issuer, revoked) = match response {
            Response::Admitted { ca, node, issuer, revoked } => (ca, node, issuer, revoked),
            Response::Refused(why) => return Err(IdentityError::NotAdmitted(why)),
        };
        if sha256(&ca) != self.token.ca_sha256() {
            return Err(wrong("it is of another cluster"));
        }
        let [ca, node, issuer] = [ca, node, issuer].map(|der| CertificateDer::from(der.into_vec()));
        let ours = |certificate, key: &KeyPair| {
            KeyId::of_certificate(certificate) == Some(KeyId::of_key(&key.subject_public_key_info()))
        };
        if !ours(&node, &self.node) || !ours(&issuer, &self.issuer) {
            return Err(wrong("its certificates are of other keys"));
        }
        let [node_key, issuer_key] =
            [&self.node, &self.issuer].map(|key| PrivatePkcs8KeyDer::from(key.serialize_der()));
        let identity = assemble(&ca, (&node, &node_key), (&issuer, &issuer_key))
            .filter(|identity| identity.name.name == self.machine)
            .ok_or_else(|| wrong("its certificates do not belong together"))?;
        verify::prove(&identity)?;
        let _lock = enter_new(dir)?;
        if let Some(revoked) = revoked {
            revocation::store(dir, &ca, &revoked)?;
        }
        save(dir, &identity)?;
        Ok(identity.name)
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Enrolment {
    /// What to send back, in either case.
    pub response: Vec<u8>,
    /// Who was let in, or why nobody was: for the log.
    pub outcome: Result<PeerName, IdentityError>,
}

/// Answers a stranger's request ([`Event::Enrol`](crate::peer::Event::Enrol)) with what is in `dir`: certificates, if this is
/// where the cluster was made and the token is good. Reads and writes files; takes a millisecond.
pub fn answer_enrolment(dir: &Path, request: &[u8]) -> Enrolment {
    let outcome = admit(dir, request);
    let response = match &outcome {
        Ok((_, admitted)) => crate::message::encode(admitted),
        // Files and keys of this machine are nothing to a stranger.
        Err(error) if error.is_for_applicants() => {
            crate::message::encode(&Response::Refused(error.to_string()))
        }
        Err(_) => crate::message::encode(&Response::Refused("it cannot let machines in; see its log".into())),
    };
    Enrolment { response, outcome: outcome.map(|(name, _)| name) }
}

fn admit(dir: &Path, request: &[u8]) -> Result<(PeerName, Response), IdentityError> {
    let wrong = |what: &str| IdentityError::BadRequest(what.to_owned());
    let request: Request = crate::message::decode(request).map_err(|_| wrong("it cannot be read"))?;
    if request.version != VERSION {
        return Err(wrong("it is of another version"));
    }
    check_name(&request.machine)?;
    let authority = open_authority(dir)?;
    let ca_sha256 = sha256(&authority.certificate);
    for (applicant, purpose) in [(&request.node, NODE), (&request.issuer, ISSUER)] {
        let signed = signed(purpose, &ca_sha256, &request.secret, &request.machine);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &applicant.point)
            .verify(&signed, &applicant.proof)
            .map_err(|_| wrong("it does not prove that it has the keys"))?;
    }
    let [node, issuer] = [&request.node, &request.issuer].map(|applicant| PublicKey(&applicant.point));
    let keys = [&node, &issuer].map(|key| KeyId::of_key(&key.subject_public_key_info()));
    if keys[0] == keys[1] {
        return Err(wrong("it shows one key twice"));
    }
    let name = PeerName::of_node(&authority.cluster, &request.machine);
    let _lock = Lock::take(dir)?;
    let revoked = revocation::read(dir, &authority.certificate)?;
    if revoked.as_ref().is_some_and(|(list, _)| list.keys().any(|key| keys.contains(&key))) {
        return Err(wrong("its keys were removed from the cluster"));
    }
    let (node, issuer) = redeem(dir, &request.secret, keys[0], || {
        let certificates = authority.certify(&request.machine, &node, &issuer)?;
        members::add_keys(dir, &name, keys)?;
        Ok(certificates)
    })?;
    let admitted = Response::Admitted {
        ca: ByteBuf::from(authority.certificate),
        node: ByteBuf::from(node),
        issuer: ByteBuf::from(issuer),
        revoked: revoked.map(|(_, bytes)| ByteBuf::from(bytes)),
    };
    Ok((name, admitted))
}
