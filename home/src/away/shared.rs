//! What the sessions with all nodes have in common: a parent and its child may be on different ones.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tracee::Tid;

use super::Used;
use super::cpu::Ledger;
use crate::content::Contents;

/// One for each supervisor.
#[derive(Clone, Default)]
pub struct Shared {
    /// Files that are named once for all nodes.
    pub(super) contents: Rc<RefCell<Contents>>,
    /// CPU time that processes use away.
    pub(super) cpu: Rc<RefCell<Ledger>>,
    /// The last key of a process or thread. One that is used once only, on whatever link, tells the ledger which body
    /// is meant.
    last_key: Rc<Cell<u64>>,
}

impl Shared {
    pub(super) fn key(&self) -> u64 {
        self.last_key.set(self.last_key.get() + 1);
        self.last_key.get()
    }

    /// What a process that is at home has used away.
    pub fn used(&self, pid: Tid) -> Used {
        self.cpu.borrow().used(pid)
    }

    /// There is a new process by this number.
    pub fn born(&self, pid: Tid) {
        self.cpu.borrow_mut().born(pid);
    }
}
