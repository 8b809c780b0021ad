//! Meeting a node: hello, and whether images of this home fit it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tracee::machine::Machine;
use wire::message::{self, Clocks, Hello, VERSION};
use wire::session::{Begin, Control, Vdso};
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
    /// Says hello over an established link and waits until the node is ready.
    pub fn meet(mut link: Link, user: &str, begin: Begin) -> Result<Away, NodeError> {
        link.wait_established(READY_TIMEOUT)?;
        let machine = Machine::look();
        link.send(Channel::CONTROL, message::encode(&hello(user, &machine)))?;
        link.send(Channel::CONTROL, message::encode(&begin))?;
        let until = Instant::now() + READY_TIMEOUT;
        let mut name: Option<String> = None;
        let vdso_bytes = machine.vdso.code.len() as u64;
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
                    Control::Ready => return Ok(Away::new(link, name.unwrap_or_default(), vdso_bytes)),
                    Control::WantVdso => {
                        let own = &machine.vdso;
                        let random = tracee::vdso::random_parameters();
                        let vdso = Vdso {
                            code: own.code.clone().into(),
                            vvar_bytes: own.vvar_bytes,
                            random: random.map(|parameters| parameters.to_vec().into()),
                        };
                        link.send(Channel::CONTROL, message::encode(&vdso))?;
                    }
                    _ => {}
                }
            }
            if Instant::now() >= until {
                return Err(NodeError::Silent);
            }
            link.wait(until)?;
        }
    }

    fn new(link: Link, name: String, vdso_bytes: u64) -> Away {
        Away {
            link,
            name,
            vdso_bytes,
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
            child_came: false,
            counts: Counts::default(),
        }
    }
}

fn hello(user: &str, machine: &Machine) -> Hello {
    Hello {
        version: VERSION,
        name: user.into(),
        boot_id: machine.boot_id,
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        vdso_hash: *blake3::hash(&machine.vdso.code).as_bytes(),
        cpu_features: machine.cpu.features.clone(),
        xcr0: machine.cpu.xcr0,
        xsave_size: machine.cpu.xsave_bytes,
        clocks: Clocks {
            monotonic_ns: machine.monotonic_ns,
            boottime_ns: machine.boottime_ns,
            realtime_ns: machine.realtime_ns,
        },
    }
}
