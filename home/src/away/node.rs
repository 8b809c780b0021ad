//! Meeting a node: hello, and whether images of this home fit it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tracee::machine::Machine;
use wire::message::{self, Clocks, Hello, VERSION};
use wire::session::{Begin, Control};
use wire::{Channel, Link, LinkError};

use super::{Away, Counts};
use crate::content::Contents;

/// Why a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A message that makes no sense.
    #[error("the node sent {0}")]
    Message(#[from] message::DecodeError),
    /// The node says no.
    #[error("the node refuses: {0}")]
    Refused(String),
    /// No answer.
    #[error("the node does not answer")]
    Silent,
}

/// How long a node may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

impl Away {
    /// Says hello over an established link and waits until the node is ready. With `trace_local` the node reports
    /// the calls that bodies make in their own kernel as well.
    pub fn meet(mut link: Link, user: &str, trace_local: bool) -> Result<Away, NodeError> {
        link.wait_established(READY_TIMEOUT)?;
        link.send(Channel::CONTROL, message::encode(&hello(user)))?;
        link.send(Channel::CONTROL, message::encode(&Begin { trace_local }))?;
        let until = Instant::now() + READY_TIMEOUT;
        let mut name: Option<String> = None;
        loop {
            link.drive(Instant::now())?;
            while let Some((channel, frame)) = link.recv() {
                if channel != Channel::CONTROL {
                    continue;
                }
                if name.is_none() {
                    let node: Hello = message::decode(&frame)?;
                    name = Some(node.name);
                    continue;
                }
                match message::decode(&frame)? {
                    Control::Refused(why) => return Err(NodeError::Refused(why)),
                    Control::Ready => return Ok(Away::new(link, name.unwrap_or_default())),
                    _ => {}
                }
            }
            if Instant::now() >= until {
                return Err(NodeError::Silent);
            }
            link.wait(until)?;
        }
    }

    fn new(link: Link, name: String) -> Away {
        Away {
            link,
            name,
            contents: Contents::default(),
            processes: HashMap::new(),
            pids: HashMap::new(),
            threads: HashMap::new(),
            keys: HashMap::new(),
            next_key: 0,
            actions: VecDeque::new(),
            sending: VecDeque::new(),
            replaced: HashMap::new(),
            cpu: Default::default(),
            nearness: super::nearness::Nearness::new(),
            counts: Counts::default(),
        }
    }
}

fn hello(user: &str) -> Hello {
    let machine = Machine::look();
    Hello {
        version: VERSION,
        name: user.into(),
        boot_id: machine.boot_id,
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        vdso_hash: *blake3::hash(&machine.vdso).as_bytes(),
        cpu_features: machine.cpu.features,
        xcr0: machine.cpu.xcr0,
        xsave_size: machine.cpu.xsave_bytes,
        clocks: Clocks {
            monotonic_ns: machine.monotonic_ns,
            boottime_ns: machine.boottime_ns,
            realtime_ns: machine.realtime_ns,
        },
    }
}
