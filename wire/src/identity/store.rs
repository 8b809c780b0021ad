//! Identities on disk. The directory (mode 0700, files 0600) holds
//!
//! | file | |
//! | --- | --- |
//! | `ca.crt` | the cluster; its presence says that the directory is complete |
//! | `node.crt`, `node.key` | this machine as a node |
//! | `issuer.crt`, `issuer.key` | its right to make certificates of its users |
//! | `revoked` | who was removed, signed by the CA |
//! | `ca.key`, `members`, `tokens` | only where the cluster was made |

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::authority::cluster_of;
use super::{
    Authority, Identity, IdentityError, Issuing, PeerName, Revoked, RevokedFile, Role, members, user_name,
};

/// All that this module and its siblings write. `ca.crt` first: without it nothing here is an identity.
const FILES: [&str; 9] =
    ["ca.crt", "ca.key", "node.crt", "node.key", "issuer.crt", "issuer.key", "members", "tokens", "revoked"];

/// Files larger than this are not read: certificates and keys take below 4 KiB, a member 200 bytes, and what tells of
/// those who were removed must fit into an answer of a daemon.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// `$XDG_CONFIG_HOME/mosix`, or `~/.config/mosix` (XDG Base Directory Specification 0.8: a relative path there
/// is ignored). None if neither variable is set.
pub fn default_dir() -> Option<PathBuf> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".config")))
        .map(|dir| dir.join("mosix"))
}

/// Makes a cluster, and the identity of this machine in it, in `dir`. Returns the cluster's full name.
pub fn init_cluster(dir: &Path, cluster: &str, machine: &str) -> Result<String, IdentityError> {
    let authority = Authority::create(cluster)?;
    let node = authority.issue_node(machine)?;
    let _lock = enter_new(dir)?;
    write(&dir.join("ca.key"), authority.issuer.key().serialize_pem().as_bytes())?;
    members::add(dir, &node)?;
    save(dir, &node)?;
    Ok(authority.cluster)
}

/// Makes an identity where the cluster was made: a machine of that name, which counts as a member from now on, or a user
/// of this machine.
pub fn issue(ca_dir: &Path, role: Role, name: &str) -> Result<Identity, IdentityError> {
    if role == Role::User {
        return load(ca_dir, Role::Node)?.issue_user(name);
    }
    let authority = open_authority(ca_dir)?;
    let _lock = Lock::take(ca_dir)?;
    let node = authority.issue_node(name)?;
    members::add(ca_dir, &node)?;
    Ok(node)
}

/// SHA-256 of the CA's certificate, by which a machine that joins knows it.
pub fn ca_sha256(dir: &Path) -> Result<[u8; 32], IdentityError> {
    Ok(super::sha256(&read_certificate(&dir.join("ca.crt"))?))
}

/// Whether the cluster was made here: only there are machines let in and removed.
pub fn is_authority(dir: &Path) -> bool {
    dir.join("ca.crt").exists() && dir.join("ca.key").exists()
}

/// Reads this machine's identity as a node, or makes one for this process's user on it. Whoever was removed from the
/// cluster, as far as this machine knows, is in its [`revoked`](Identity::revoked).
pub fn load(dir: &Path, role: Role) -> Result<Identity, IdentityError> {
    if !dir.join("ca.crt").exists() {
        return Err(IdentityError::Missing(dir.to_owned()));
    }
    let ca = read_certificate(&dir.join("ca.crt"))?;
    let mut node = assemble(
        &ca,
        (&read_certificate(&dir.join("node.crt"))?, &read_private(&dir.join("node.key"))?),
        (&read_certificate(&dir.join("issuer.crt"))?, &read_private(&dir.join("issuer.key"))?),
    )
    .ok_or_else(|| damaged(&dir.join("node.crt"), "it is no node certificate of the cluster in ca.crt"))?;
    node.revoked = RevokedFile::open(dir, &node)?.revoked().clone();
    match role {
        Role::Node => Ok(node),
        Role::User => node.issue_user(&user_name(rustix::process::getuid().as_raw())),
    }
}

/// Removes this machine's identity, and the directory if nothing else is in it. Where the cluster was made that ends its
/// growth, and is refused unless `even_ca`.
pub fn leave(dir: &Path, even_ca: bool) -> Result<(), IdentityError> {
    if !dir.join("ca.crt").exists() {
        return Err(IdentityError::Missing(dir.to_owned()));
    }
    if is_authority(dir) && !even_ca {
        return Err(IdentityError::HoldsAuthority(dir.join("ca.key")));
    }
    let _lock = Lock::take(dir)?;
    for name in FILES {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file("remove", &path, &error));
            }
            _ => {}
        }
    }
    // Somebody else's files may be there.
    let _ = std::fs::remove_dir(dir);
    Ok(())
}

/// Takes a directory for a new identity, made if it is not there.
pub(super) fn enter_new(dir: &Path) -> Result<Lock, IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .map_err(|e| file("create", dir, &e))?;
    let lock = Lock::take(dir)?;
    match dir.join("ca.crt").exists() {
        true => Err(IdentityError::Exists(dir.to_owned())),
        false => Ok(lock),
    }
}

/// Writes a machine's identity.
pub(super) fn save(dir: &Path, node: &Identity) -> Result<(), IdentityError> {
    let issuing = node.issuing.as_ref().ok_or(IdentityError::NoIssuer)?;
    for (name, certificate, key) in
        [("node", &node.chain[0], &node.key), ("issuer", &issuing.certificate, &issuing.key)]
    {
        write(&dir.join(format!("{name}.key")), armour("PRIVATE KEY", key).as_bytes())?;
        write(&dir.join(format!("{name}.crt")), armour("CERTIFICATE", certificate).as_bytes())?;
    }
    write(&dir.join("ca.crt"), armour("CERTIFICATE", &node.ca).as_bytes())
}

pub(super) fn open_authority(dir: &Path) -> Result<Authority, IdentityError> {
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

/// A node's identity from certificates and keys, if their names belong together. Signatures are checked by the peer.
pub(super) fn assemble(
    ca: &CertificateDer<'_>,
    (node, node_key): (&CertificateDer<'_>, &PrivatePkcs8KeyDer<'_>),
    (issuer, issuer_key): (&CertificateDer<'_>, &PrivatePkcs8KeyDer<'_>),
) -> Option<Identity> {
    let name = PeerName::of_certificate(node).filter(|name| name.role == Role::Node)?;
    let issuers = webpki::EndEntityCert::try_from(issuer).ok()?;
    let issues = issuers.valid_uri_names().find_map(super::authority::issuer_of)?;
    let same = cluster_of(ca).is_ok_and(|cluster| cluster == name.cluster);
    (same && issues == (&name.cluster, &name.node)).then(|| Identity {
        name,
        ca: ca.to_vec(),
        chain: vec![node.to_vec()],
        key: node_key.secret_pkcs8_der().to_vec(),
        issuing: Some(Issuing { certificate: issuer.to_vec(), key: issuer_key.secret_pkcs8_der().to_vec() }),
        revoked: Revoked::default(),
    })
}

/// Held while files of an identity directory are read and written as one. An flock(2) of the directory itself: it leaves
/// no file behind, and ends with its holder.
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Lock, IdentityError> {
        let opened = File::open(dir).map_err(|e| file("open", dir, &e))?;
        rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| IdentityError::File { verb: "lock", path: dir.to_owned(), error })?;
        Ok(Lock(opened))
    }
}

pub(super) fn armour(label: &str, der: &[u8]) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lf)
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?).map_err(|e| damaged(path, e))
}

fn read_private(path: &Path) -> Result<PrivatePkcs8KeyDer<'static>, IdentityError> {
    PrivatePkcs8KeyDer::from_pem_slice(&read_key(path)?).map_err(|e| damaged(path, e))
}

/// A key that others may read is refused, as ssh refuses it.
fn read_key(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mode = std::fs::metadata(path).map_err(|e| file("read", path, &e))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    read(path)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|e| file("read", path, &e))?;
    Ok(bytes)
}

/// A file that may not be there, of lines.
pub(super) fn read_lines(path: &Path) -> Result<Vec<String>, IdentityError> {
    match read(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|e| damaged(path, e))?;
            Ok(text.lines().map(str::to_owned).collect())
        }
        Err(IdentityError::File { error: rustix::io::Errno::NOENT, .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file whole (left-overs of an interrupted run are overwritten), with mode 0600 from the start.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
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

pub(super) fn damaged(path: &Path, what: impl std::fmt::Display) -> IdentityError {
    IdentityError::Damaged(path.display().to_string(), what.to_string())
}

fn file(verb: &'static str, path: &Path, error: &std::io::Error) -> IdentityError {
    let error = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
    IdentityError::File { verb, path: path.to_owned(), error }
}
