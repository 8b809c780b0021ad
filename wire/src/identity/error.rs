//! What can be wrong with an identity, in words that say what to do.

use std::path::PathBuf;

use super::MAX_NAME_BYTES;

/// An identity could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No identity in the directory.
    #[error(
        "no identity in {}: run `mosix init` to make a cluster, or `mosix join FILE` to join one \
         (or use --loopback, which needs neither)", .0.display()
    )]
    Missing(PathBuf),
    /// An identity is there already.
    #[error("{} exists: this machine is already of a cluster; remove the directory to leave it", .0.display())]
    Exists(PathBuf),
    /// Certificates are made where the CA's key is.
    #[error("{} is not here: invite new machines on the machine where `mosix init` was run", .0.display())]
    NotAuthority(PathBuf),
    /// A key that others can read.
    #[error("{} can be read by others (mode {mode:04o}): run `chmod 600` on it", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a name for a cluster, node or user.
    #[error(
        "{0:?} is no name: use 1 to {MAX_NAME_BYTES} letters, digits, '.', '-' or '_', not beginning with '.'"
    )]
    BadName(String),
    /// A file or value does not hold what it should.
    #[error("{0} is damaged: {1}")]
    Damaged(String, String),
    /// The system refused to read or write a file.
    #[error("cannot {verb} {}: {error}", .path.display())]
    File {
        /// "read", "write" or "create".
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// As the system says it.
        error: rustix::io::Errno,
    },
    /// A cryptographic operation failed.
    #[error("cannot make or use a certificate: {0}")]
    Crypto(String),
}

impl IdentityError {
    pub(crate) fn crypto(error: impl std::fmt::Display) -> IdentityError {
        IdentityError::Crypto(error.to_string())
    }
}
