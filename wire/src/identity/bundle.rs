//! Joining by a file, for machines that cannot reach each other yet: PEM with a machine's certificates and keys, made
//! where the cluster was made. The file is as secret as the keys in it; it goes by whatever already carries secrets
//! between the two machines (ssh, a USB stick) and is deleted after.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::store::{armour, assemble, enter_new, save};
use super::{IdentityError, PeerName, Role, issue};

/// Makes certificates and keys for a machine that is to join, as the contents of one file. Secret.
pub fn export_bundle(ca_dir: &Path, machine: &str) -> Result<String, IdentityError> {
    let node = issue(ca_dir, Role::Node, machine)?;
    let mut bundle = format!(
        "mosix cluster {}, machine {machine}. Secret: whoever has this file is {machine}.\n\
         Run `mosix join FILE` on {machine}, then delete it.\n\n",
        node.name.cluster
    );
    bundle += &armour("CERTIFICATE", &node.ca);
    let issuing = node.issuing.as_ref().ok_or(IdentityError::NoIssuer)?;
    for (certificate, key) in [(&node.chain[0], &node.key), (&issuing.certificate, &issuing.key)] {
        bundle += &armour("CERTIFICATE", certificate);
        bundle += &armour("PRIVATE KEY", key);
    }
    Ok(bundle)
}

/// Joins a cluster: writes what a bundle holds to `dir`. Returns what this machine's node certificate says.
pub fn import_bundle(dir: &Path, bundle: &[u8]) -> Result<PeerName, IdentityError> {
    let wrong = |what: String| IdentityError::Damaged("the invitation".into(), what);
    let certificates = CertificateDer::pem_slice_iter(bundle)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong(e.to_string()))?;
    let keys = PrivatePkcs8KeyDer::pem_slice_iter(bundle)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong(e.to_string()))?;
    let ([ca, node, issuer], [node_key, issuer_key]) = (certificates.as_slice(), keys.as_slice()) else {
        return Err(wrong("it must be a file made by `mosix invite`".into()));
    };
    let identity = assemble(ca, (node, node_key), (issuer, issuer_key))
        .ok_or_else(|| wrong("its certificates do not belong together".into()))?;
    let _lock = enter_new(dir)?;
    save(dir, &identity)?;
    Ok(identity.name)
}
