//! Meeting a node: hello, and whether images of this home fit it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tracee::machine::Machine;
use wire::message::{self, Clocks, Hello, VERSION};
use wire::session::{Begin, Control, Vdso};
use wire::{Channel, Link, LinkError};

use super::{Away, Counts, Shared};

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
    /// A name that no node can have.
    #[error("the node calls itself {0:?}")]
    Name(String),
    /// No answer.
    #[error("the node does not answer")]
    Silent,
}

/// How long a node may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that has not said yet that it is ready. The poll loop drives it: nothing here waits.
pub struct Meeting {
    link: Link,
    user: String,
    begin: Begin,
    shared: Shared,
    /// This machine, once it has said hello.
    machine: Option<Machine>,
    name: Option<String>,
    until: Instant,
}

impl Meeting {
    /// Over a link that need not be established yet.
    pub fn new(link: Link, user: &str, begin: Begin, shared: Shared) -> Meeting {
        let until = Instant::now() + READY_TIMEOUT;
        let user = user.into();
        Meeting { link, user, begin, shared, machine: None, name: None, until }
    }

    /// The link, for its descriptor.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// When it must be driven even if nothing arrives.
    pub fn deadline(&self) -> Instant {
        self.link.deadline().map_or(self.until, |deadline| deadline.min(self.until))
    }

    /// Goes on as far as it can: whether the node is ready.
    pub fn drive(&mut self) -> Result<bool, NodeError> {
        self.link.drive(Instant::now())?;
        if self.link.is_established() && self.machine.is_none() {
            let machine = Machine::look();
            self.link.send(Channel::CONTROL, message::encode(&hello(&self.user, &machine)))?;
            self.link.send(Channel::CONTROL, message::encode(&self.begin))?;
            self.machine = Some(machine);
        }
        while let Some((channel, frame)) = self.link.recv() {
            if channel != Channel::CONTROL {
                continue;
            }
            if self.name.is_none() {
                let node: Hello = message::decode(&frame)?;
                self.name = Some(checked(node.name)?);
                continue;
            }
            match message::decode(&frame)? {
                Control::Refused(why) => return Err(NodeError::Refused(why)),
                Control::Ready => return Ok(true),
                Control::WantVdso => self.send_vdso()?,
                _ => {}
            }
        }
        if Instant::now() >= self.until {
            return Err(NodeError::Silent);
        }
        Ok(false)
    }

    fn send_vdso(&mut self) -> Result<(), NodeError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let own = &machine.vdso;
        let random = tracee::vdso::random_parameters();
        let vdso = Vdso {
            code: own.code.clone().into(),
            vvar_bytes: own.vvar_bytes,
            random: random.map(|parameters| parameters.to_vec().into()),
        };
        Ok(self.link.send(Channel::CONTROL, message::encode(&vdso))?)
    }

    /// Waits until the node is ready, for a supervisor that has nothing else to do yet.
    pub fn wait(mut self) -> Result<Away, NodeError> {
        while !self.drive()? {
            self.link.wait(self.until)?;
        }
        Ok(self.met(None))
    }

    /// The session of a node that is ready; `name` if it is known by one.
    pub fn met(self, name: Option<&str>) -> Away {
        let name = name.map(str::to_owned).or(self.name).unwrap_or_default();
        Away {
            link: self.link,
            name,
            shared: self.shared,
            processes: HashMap::new(),
            pids: HashMap::new(),
            threads: HashMap::new(),
            keys: HashMap::new(),
            actions: VecDeque::new(),
            sending: VecDeque::new(),
            copies: HashMap::new(),
            replaced: HashMap::new(),
            nearness: super::nearness::Nearness::new(),
            others: false,
            traced: false,
            child_came: false,
            counts: Counts::default(),
        }
    }
}

/// A name is shown to users, and `home` is another place.
fn checked(name: String) -> Result<String, NodeError> {
    let bad = name.is_empty() || name == "home" || name.chars().any(|c| c.is_control() || c.is_whitespace());
    if bad { Err(NodeError::Name(name)) } else { Ok(name) }
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
