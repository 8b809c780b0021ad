//! The link to where the program shall compute.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use remote::Priority;
use rustix::event::{PollFd, PollFlags, poll};
use tracee::launch;
use wire::identity::{self, Role};
use wire::{Identity, Link, Listener};

/// Where the program shall compute.
#[derive(Clone, Debug)]
pub enum Node {
    /// A node embedded in this process tree.
    Loopback,
    /// A node on the network: its address and the directory of our identity.
    At(String, Option<PathBuf>),
}

/// Name of the embedded node.
pub const LOOPBACK: &str = "loopback";
/// How long a node may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects, starting the embedded node if that is asked for. Errors are lines for the user.
pub fn connect(node: &Node) -> Result<Link, String> {
    match node {
        Node::Loopback => loopback(),
        Node::At(address, identity) => at(address, identity.clone()),
    }
}

fn at(address: &str, dir: Option<PathBuf>) -> Result<Link, String> {
    let dir = dir
        .or_else(identity::default_dir)
        .ok_or("no home directory to look for an identity in: give --identity DIR")?;
    let identity = identity::load(&dir, Role::User).map_err(|error| error.to_string())?;
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| format!("{address}: {error} (give --on as HOST:PORT)"))?
        .next()
        .ok_or_else(|| format!("{address} has no address"))?;
    establish(resolved, &identity)
}

fn establish(address: SocketAddr, identity: &Identity) -> Result<Link, String> {
    let mut link = Link::connect(address, identity, Instant::now()).map_err(|error| error.to_string())?;
    link.wait_established(CONNECT_TIMEOUT).map_err(|error| error.to_string())?;
    Ok(link)
}

/// The embedded node is a child of this process that serves one session, with identities made for this run.
fn loopback() -> Result<Link, String> {
    let own = |error: &dyn std::fmt::Display| format!("the embedded node: {error}");
    let (home, node) = Identity::ephemeral_pair().map_err(|error| own(&error))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listener = Listener::bind(any).map_err(|error| own(&error))?;
    let address = listener.local_addr().map_err(|error| own(&error))?;
    launch::fork(|| serve(&mut listener, &node)).map_err(|errno| own(&errno))?;
    drop(listener);
    establish(address, &home)
}

/// The child's life. What goes wrong here shows at the other end of the link.
fn serve(listener: &mut Listener, node: &Identity) -> u8 {
    let until = Instant::now() + CONNECT_TIMEOUT;
    let incoming = loop {
        match listener.accept(Instant::now()) {
            Ok(Some(incoming)) => break incoming,
            Ok(None) if Instant::now() < until => {
                let mut fds = [PollFd::from_borrowed_fd(listener.fd(), PollFlags::IN)];
                let timeout = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
                // Interrupted or not, the next look decides.
                let _ = poll(&mut fds, Some(&timeout));
            }
            _ => return 1,
        }
    };
    let Ok(mut link) = Link::serve(incoming, node, Instant::now()) else { return 1 };
    if link.wait_established(CONNECT_TIMEOUT).is_err() {
        return 1;
    }
    let (cache, alone) = (remote::Cache::default_dir(), Box::new(remote::Alone));
    u8::from(remote::serve(link, LOOPBACK, &cache, Priority::Own, alone).is_err())
}
