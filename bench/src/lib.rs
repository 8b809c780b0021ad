//! What the measurements share: medians, cores, the link between two cores, and running guests on either side.

#![forbid(unsafe_code)]

pub mod cores;
pub mod figure;
pub mod guest;
pub mod link;
