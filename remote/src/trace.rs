//! What home's trace of system calls needs to know of bodies. Without a trace nothing here does anything.

use serde_bytes::ByteBuf;
use syscall_table::render::{self, Entry, Style};
use syscall_table::{Ret, Where, by_number, place_of};
use tracee::Tid;
use tracee::ptrace::SigInfo;
use wire::session::{Traced, Up};

use crate::marshal::Guest;
use crate::session::{Session, SessionError};

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct Open {
    nr: u32,
    args: [u64; 6],
    entry: Entry,
}

/// Special calls that the deputy executes too, so that home's answer is the result.
const AT_BOTH_ENDS: [&str; 9] =
    ["fork", "vfork", "clone", "clone3", "execve", "execveat", "prctl", "setrlimit", "prlimit64"];

/// Whether the result of a call that did not go home is the deputy's.
fn forwarded(nr: u32, args: [u64; 6]) -> bool {
    match place_of(nr, args) {
        Where::Forward => true,
        Where::Local => false,
        Where::Special | Where::Home => by_number(nr).is_some_and(|call| AT_BOTH_ENDS.contains(&call.name)),
    }
}

/// Whether a call has an exit that ptrace reports.
pub(crate) fn returns(nr: u32) -> bool {
    by_number(nr).is_none_or(|call| call.ret != Ret::Never || call.name == "rt_sigreturn")
}

impl Session {
    /// A thread is about to make a call here or by its deputy.
    pub(crate) fn trace_entry(&mut self, host: Tid, nr: u32, args: [u64; 6]) -> Result<(), SessionError> {
        if !self.trace_local {
            return Ok(());
        }
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        if thread.traced.as_ref().is_some_and(|open| open.nr == nr && open.args == args) {
            // Made again after a stop that the program does not notice.
            return Ok(());
        }
        let entry = render::entry(nr, args, &mut Guest(host), &Style::default());
        let text = entry.text.clone();
        thread.traced = Some(Box::new(Open { nr, args, entry }));
        let key = thread.key;
        self.ask(key, &Up::Traced(Traced::Entry { nr, args, text }))
    }

    /// The call has returned; what it wrote is in the guest's memory.
    pub(crate) fn trace_exit(&mut self, host: Tid, ret: i64) -> Result<(), SessionError> {
        if !self.trace_local {
            return Ok(());
        }
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let Some(open) = thread.traced.take() else { return Ok(()) };
        let rest = render::exit(&open.entry, open.nr, open.args, ret, &mut Guest(host), &Style::default());
        let key = thread.key;
        self.ask(key, &Up::Traced(Traced::Exit { rest, forwarded: forwarded(open.nr, open.args) }))
    }

    /// The thread's call brings its process home.
    pub(crate) fn trace_going_home(&mut self, host: Tid, reason: &str) -> Result<(), SessionError> {
        if !self.trace_local {
            return Ok(());
        }
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let key = thread.key;
        self.ask(key, &Up::Traced(Traced::GoesHome(reason.into())))
    }

    /// A signal is about to be delivered.
    pub(crate) fn trace_signal(
        &mut self,
        host: Tid,
        number: i32,
        info: Option<SigInfo>,
    ) -> Result<(), SessionError> {
        if !self.trace_local {
            return Ok(());
        }
        let Some(thread) = self.threads.get(&host) else { return Ok(()) };
        let info = ByteBuf::from(info.map_or([0; 128], |info| info.0).to_vec());
        let key = thread.key;
        self.ask(key, &Up::Traced(Traced::Signal { number, info }))
    }
}
