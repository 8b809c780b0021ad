//! Names of nodes and labels, and who exactly a node is.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name in bytes: what a certificate of this cluster can carry as a node's name.
pub const MAX_NAME_BYTES: usize = 63;

/// A node's name or a label: 1 to [`MAX_NAME_BYTES`] of letters, digits, dot, hyphen and underscore, the rule that
/// certificates have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A name that breaks the rule of [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is 1 to {MAX_NAME_BYTES} letters, digits, dots, hyphens and underscores, and begins with no dot"
)]
pub struct BadName;

impl Name {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Name, BadName> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || text.len() > MAX_NAME_BYTES || text.starts_with('.') || !text.chars().all(fine)
        {
            return Err(BadName);
        }
        Ok(Name(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        // Borrowed, so that a hostile length costs nothing: postcard lends from the datagram.
        let text = <&str>::deserialize(deserializer)?;
        Name::new(text).map_err(serde::de::Error::custom)
    }
}

/// Who a node is, and since when: name, address and incarnation.
///
/// The name is the node; the address may change and the incarnation grows with each start and each time the node
/// finds itself declared down, so that old news about it cannot be mistaken for new.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// Unique in the cluster.
    pub name: Name,
    /// Where its datagrams go.
    pub addr: SocketAddr,
    /// Larger than that of any earlier start; milliseconds since 1970 at start serve.
    pub incarnation: u64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.addr)
    }
}

/// What foca calls an address is the name here: two starts of one node are rivals, and the later one wins.
impl foca::Identity for NodeId {
    type Addr = Name;

    fn renew(&self) -> Option<NodeId> {
        Some(NodeId { incarnation: self.incarnation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> Name {
        self.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &NodeId) -> bool {
        // Equal incarnations of different addresses are two machines with one name; the order only has to be the
        // same everywhere.
        (self.incarnation, self.addr) > (adversary.incarnation, adversary.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_when_made_and_when_read() {
        assert!(Name::new("node-7.lab_2").is_ok());
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", ".hidden", "a b", "ä", "a/b", &long] {
            assert_eq!(Name::new(bad), Err(BadName));
            let bytes = postcard::to_stdvec(bad).unwrap();
            assert!(postcard::from_bytes::<Name>(&bytes).is_err());
        }
    }

    #[test]
    fn a_later_start_wins() {
        use foca::Identity;
        let name = Name::new("a").unwrap();
        let old = NodeId { name, addr: "10.0.0.1:7414".parse().unwrap(), incarnation: 5 };
        let new = old.renew().unwrap();
        assert!(new.win_addr_conflict(&old) && !old.win_addr_conflict(&new));
        assert_eq!(NodeId { incarnation: u64::MAX, ..old }.renew(), None);
    }
}
