//! What can be wrong with an identity, in words that say what to do.

use std::path::PathBuf;

use super::MAX_NAME_BYTES;

/// An identity could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No identity in the directory.
    #[error(
        "no identity in {}: run `mosix init` to make a cluster, or `mosix join TOKEN` to join one \
         (or use --loopback, which needs neither)", .0.display()
    )]
    Missing(PathBuf),
    /// An identity is there already.
    #[error("{} exists: this machine is already of a cluster; `mosix leave` leaves it", .0.display())]
    Exists(PathBuf),
    /// Certificates are made where the CA's key is.
    #[error("{} is not here: machines are let in and removed where `mosix init` was run", .0.display())]
    NotAuthority(PathBuf),
    /// Leaving would take the CA's key along.
    #[error(
        "{} is the cluster's own key: without it no machine can join or be removed; copy it away, or say --even-ca",
        .0.display()
    )]
    HoldsAuthority(PathBuf),
    /// A machine of that name is there.
    #[error(
        "a machine {0} is in the cluster: choose another name (--machine), or run `mosix node remove {0}`"
    )]
    NameTaken(String),
    /// No machine of that name is there.
    #[error("no machine {0} is in the cluster (see `mosix node list`)")]
    NoMember(String),
    /// A cluster does not do without the machine where it was made.
    #[error("{0} is this machine, which lets others in: it cannot be removed")]
    RemoveSelf(String),
    /// Too many machines.
    #[error("the cluster has {0} machines or removed ones, which is all that it can have")]
    Full(usize),
    /// Users' certificates are made by a node.
    #[error("only a node's identity makes certificates for users")]
    NoIssuer,
    /// A text that is no token.
    #[error("that is no token: {0}")]
    BadToken(String),
    /// A token that was never made here, or is over.
    #[error("the token is not known or has expired; make another with `mosix token`")]
    UnknownToken,
    /// A token that another machine has used.
    #[error("the token has been used; make another with `mosix token`")]
    UsedToken,
    /// A request to join that is not in order.
    #[error("the request to join is refused: {0}")]
    BadRequest(String),
    /// The answer to a request to join.
    #[error("not let in: {0}")]
    NotAdmitted(String),
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
        /// "read", "write", "create" …
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
    /// Whether a stranger may be told.
    pub(super) fn is_for_applicants(&self) -> bool {
        use IdentityError::*;
        matches!(self, BadName(_) | NameTaken(_) | Full(_) | UnknownToken | UsedToken | BadRequest(_))
    }

    pub(crate) fn crypto(error: impl std::fmt::Display) -> IdentityError {
        IdentityError::Crypto(error.to_string())
    }
}
