//! How nodes know of each other and where processes should be. No I/O, no clock, no thread: time and input are
//! parameters, what is to be done is returned, and every draw is from a generator that the caller seeds.
//!
//! | module | holds |
//! | --- | --- |
//! | [`cluster`] | one node's part: datagrams and measurements in, datagrams and news of members out |
//! | [`bulletin`] | what has been heard of others' load, and the gossip that passes it on |
//! | [`record`] | what a node says of itself, in bounded size |
//! | [`load`] | measurements and their asymmetric smoothing |
//! | [`speed`] | the unit of speed and the loop that measures it |
//! | [`policy`] | what the owner of a node allows |
//! | [`placement`] | where processes should be, and why |
//! | [`name`] | names, and who exactly a node is |
//! | [`sim`] | thousands of these nodes in simulated time, against other schedulers |
#![forbid(unsafe_code)]

pub mod bulletin;
pub mod cluster;
pub mod load;
pub mod name;
pub mod placement;
pub mod policy;
pub mod record;
pub mod sim;
pub mod speed;
mod swim;

pub use bulletin::Bulletin;
pub use cluster::{Cluster, Input, MAX_DATAGRAM_BYTES, Output, claimed_sender};
pub use load::{LoadSample, Own, OwnLoad};
pub use name::{Name, NodeId};
pub use policy::Policy;
pub use record::{Features, LoadRecord, Terms};
