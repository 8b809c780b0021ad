//! Identities on disk. The directory (mode 0700, keys 0600) holds `ca.crt`, `node.crt`, `node.key`, `user.crt`,
//! `user.key`, and on the machine where the cluster was made `ca.key`.
//!
//! A machine joins with one file: a bundle that the CA's machine made for it, PEM with its certificates and keys.
//! The file is as secret as the keys in it; it goes by whatever already carries secrets between the two
//! machines (ssh, a USB stick) and is deleted after.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::{Authority, Identity, IdentityError, PeerName, Role, cluster_of};

/// A bundle is three certificates and two keys, below 4 KiB; files larger than this are not read.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// `$XDG_CONFIG_HOME/mosix`, or `~/.config/mosix` (XDG Base Directory Specification 0.8: a relative path there
/// is ignored). None if neither variable is set.
pub fn default_dir() -> Option<PathBuf> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".config")))
        .map(|dir| dir.join("mosix"))
}

/// Makes a cluster, and the identities of this machine in it, in `dir`. Returns the cluster's full name.
pub fn init_cluster(dir: &Path, cluster: &str, machine: &str) -> Result<String, IdentityError> {
    let authority = Authority::create(cluster)?;
    let identities = both(&authority, machine)?;
    create_dir(dir)?;
    if dir.join("ca.crt").exists() {
        return Err(IdentityError::Exists(dir.to_owned()));
    }
    write(&dir.join("ca.key"), authority.issuer.key().serialize_pem().as_bytes())?;
    save(dir, &identities)?;
    Ok(authority.cluster)
}

/// SHA-256 of the CA's certificate, by which a machine that joins knows it.
pub fn ca_sha256(dir: &Path) -> Result<[u8; 32], IdentityError> {
    Ok(super::sha256(&read_certificate(&dir.join("ca.crt"))?))
}

/// Makes an identity of the cluster whose CA is in `ca_dir`.
pub fn issue(ca_dir: &Path, role: Role, name: &str) -> Result<Identity, IdentityError> {
    open_authority(ca_dir)?.issue(role, name)
}

/// Reads this machine's identity in a role.
pub fn load(dir: &Path, role: Role) -> Result<Identity, IdentityError> {
    if !dir.join("ca.crt").exists() {
        return Err(IdentityError::Missing(dir.to_owned()));
    }
    let ca = read_certificate(&dir.join("ca.crt"))?;
    let path = dir.join(format!("{}.crt", role.as_str()));
    let certificate = read_certificate(&path)?;
    let key = read_key(&dir.join(format!("{}.key", role.as_str())))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&key)
        .map_err(|e| damaged(&dir.join(format!("{}.key", role.as_str())), e))?;
    assemble(&ca, &certificate, key.secret_pkcs8_der().to_vec())
        .filter(|identity| identity.name.role == role)
        .ok_or_else(|| {
            damaged(&path, format!("it is no {} certificate of the cluster in ca.crt", role.as_str()))
        })
}

/// Makes certificates and keys for a machine that is to join, as the contents of one file. Secret.
pub fn export_bundle(ca_dir: &Path, machine: &str) -> Result<String, IdentityError> {
    let authority = open_authority(ca_dir)?;
    let identities = both(&authority, machine)?;
    let mut bundle = format!(
        "mosix cluster {}, machine {machine}. Secret: whoever has this file is {machine}.\n\
         Run `mosix join FILE` on {machine}, then delete it.\n\n",
        authority.cluster
    );
    bundle += &armour("CERTIFICATE", &authority.certificate);
    for identity in &identities {
        bundle += &armour("CERTIFICATE", &identity.certificate);
        bundle += &armour("PRIVATE KEY", &identity.key);
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
    let ([ca, node, user], [node_key, user_key]) = (certificates.as_slice(), keys.as_slice()) else {
        return Err(wrong("it must be a file made by `mosix invite`".into()));
    };
    let identities = [(node, node_key), (user, user_key)].map(|(certificate, key)| {
        assemble(ca, certificate, key.secret_pkcs8_der().to_vec())
            .ok_or_else(|| wrong("a certificate in it is not of its cluster".into()))
    });
    let [Ok(node), Ok(user)] = identities else {
        return Err(wrong("a certificate in it is not of its cluster".into()));
    };
    if (node.name.role, user.name.role) != (Role::Node, Role::User) {
        return Err(wrong("its certificates are out of order".into()));
    }
    create_dir(dir)?;
    if dir.join("ca.crt").exists() {
        return Err(IdentityError::Exists(dir.to_owned()));
    }
    let name = node.name.clone();
    save(dir, &[node, user])?;
    Ok(name)
}

fn both(authority: &Authority, machine: &str) -> Result<[Identity; 2], IdentityError> {
    Ok([authority.issue(Role::Node, machine)?, authority.issue(Role::User, machine)?])
}

/// `ca.crt` last: its presence says that the directory is complete.
fn save(dir: &Path, identities: &[Identity; 2]) -> Result<(), IdentityError> {
    for identity in identities {
        let role = identity.name.role.as_str();
        write(&dir.join(format!("{role}.key")), armour("PRIVATE KEY", &identity.key).as_bytes())?;
        write(&dir.join(format!("{role}.crt")), armour("CERTIFICATE", &identity.certificate).as_bytes())?;
    }
    write(&dir.join("ca.crt"), armour("CERTIFICATE", &identities[0].ca).as_bytes())
}

fn open_authority(dir: &Path) -> Result<Authority, IdentityError> {
    if !dir.join("ca.crt").exists() {
        return Err(IdentityError::Missing(dir.to_owned()));
    }
    let key_path = dir.join("ca.key");
    if !key_path.exists() {
        return Err(IdentityError::NotAuthority(key_path));
    }
    let certificate = read_certificate(&dir.join("ca.crt"))?;
    let key = String::from_utf8(read_key(&key_path)?).map_err(|e| damaged(&key_path, e))?;
    Authority::from_parts(certificate.to_vec(), &key)
}

/// An identity from its parts, if they are of one cluster. Signatures are checked by the peer.
fn assemble(ca: &CertificateDer<'_>, certificate: &CertificateDer<'_>, key: Vec<u8>) -> Option<Identity> {
    let name = PeerName::of_certificate(certificate)?;
    let same = cluster_of(ca).is_ok_and(|cluster| cluster == name.cluster);
    same.then(|| Identity { name, ca: ca.to_vec(), certificate: certificate.to_vec(), key })
}

fn armour(label: &str, der: &[u8]) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lf)
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?).map_err(|e| damaged(path, e))
}

/// A key that others may read is refused, as ssh refuses it.
fn read_key(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mode = std::fs::metadata(path).map_err(|e| file("read", path, &e))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    read(path)
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|e| file("read", path, &e))?;
    Ok(bytes)
}

/// Replaces the file whole (left-overs of an interrupted run are overwritten), with mode 0600 from the start.
fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let partial = path.with_extension("partial");
    let put = || {
        let _ = std::fs::remove_file(&partial);
        let mut f = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        f.write_all(bytes)?;
        f.sync_all()?;
        std::fs::rename(&partial, path)
    };
    put().map_err(|e| file("write", path, &e))
}

fn create_dir(dir: &Path) -> Result<(), IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .map_err(|e| file("create", dir, &e))
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> IdentityError {
    IdentityError::Damaged(path.display().to_string(), what.to_string())
}

fn file(verb: &'static str, path: &Path, error: &std::io::Error) -> IdentityError {
    let error = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
    IdentityError::File { verb, path: path.to_owned(), error }
}
