//! Requests of bodies: checked, executed by the deputy, answered.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use serde_bytes::ByteBuf;
use syscall_table::{self as table, At, Where};
use tracee::errno::restart;
use tracee::{Tid, clock};
use wire::session::{Call, Outcome, ToBody, Up};
use wire::trace::{Traced, Wanted};

use super::deputy::libc_signal::{SIGKILL, SIGSTOP};
use super::deputy::{Phase, Serving, What};
use super::{Action, Away};
use crate::process::TOO_MANY_THREADS;
use crate::procfs;
use crate::supervisor::{blocks_until_written, socket_timeout_of, timeout_kind};
use crate::trace::Served;

/// prctl, setrlimit, timer_getoverrun, prlimit64: done at both ends, or at either. clock_gettime: which clocks are home's
/// is for the node to see.
const BOTH_SIDES: [u32; 5] = [157, 160, 225, 228, 302];
/// read, write, pread64, pwrite64, readv, writev, preadv, pwritev, preadv2, pwritev2, fsync, fdatasync.
const DATA_CALLS: [u32; 12] = [0, 1, 17, 18, 19, 20, 295, 296, 327, 328, 74, 75];
/// close, dup2, dup3, close_range: what they close is closed whether or not a signal comes, and few programs would
/// look for EINTR.
const CLOSING_CALLS: [u32; 4] = [3, 33, 292, 436];
/// read, write, readv, writev, connect, accept, sendto, recvfrom, sendmsg, recvmsg, accept4.
const NONBLOCKING_CALLS: [u32; 11] = [0, 1, 19, 20, 42, 43, 44, 45, 46, 47, 288];
const O_NONBLOCK: u32 = 0o4000;
const CLONE: u32 = 56;
const EXECVE: u32 = 59;
const EXIT: u32 = 60;
const EXECVEAT: u32 = 322;
const CLONE_THREAD: u64 = 0x1_0000;
const EBADF: i64 = 9;
const EACCES: i64 = 13;
const E2BIG: i64 = 7;
const PROT_WRITE: i32 = 2;
const MAP_TYPE: i32 = 15;
const MAP_PRIVATE: i32 = 2;
const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;

impl Away {
    /// Takes a message of `bytes` bytes of a body's thread.
    pub(super) fn on_up(&mut self, tid: Tid, up: Up, bytes: usize) -> Result<(), String> {
        if let Up::Call(Call { seq, .. })
        | Up::Fork { seq, .. }
        | Up::Exec { seq, .. }
        | Up::MapFile { seq, .. } = &up
        {
            self.count(tid, *seq, bytes, None);
        }
        match up {
            Up::Call(call) => self.on_call(tid, call),
            Up::Fork { seq, flags, exit_signal } => {
                if !self.ready(tid, seq) {
                    return Ok(());
                }
                self.nearness.end();
                let thread = flags & CLONE_THREAD != 0;
                let process = self.threads.get(&tid).and_then(|deputy| self.processes.get(&deputy.process));
                let Some(slot) = process.and_then(|process| process.area.take()) else {
                    self.reply(tid, seq, Outcome::GoHome(TOO_MANY_THREADS.into()), Vec::new());
                    return Ok(());
                };
                let serving = Serving {
                    seq,
                    what: What::Fork { thread, slot: Some(slot) },
                    places: Vec::new(),
                    bufs: Vec::new(),
                    nr: CLONE,
                    args: [flags | u64::from(exit_signal & 0xff), 0, 0, 0, 0, 0],
                    mask: None,
                    since: Instant::now(),
                    moving: false,
                    until: None,
                };
                self.serve(tid, serving);
                Ok(())
            }
            Up::Exec { seq, dir, flags, path, argv, envp, mask, pending, seen } => {
                for (key, number) in seen {
                    if let Some(deputy) = self.keys.get(&key).and_then(|tid| self.threads.get_mut(tid)) {
                        deputy.seen(number);
                    }
                }
                if self.ready(tid, seq) {
                    self.nearness.end();
                    self.exec(tid, seq, (dir, flags), &path, &argv, &envp, mask, pending);
                }
                Ok(())
            }
            Up::MapFile { seq, fd, prot, flags, .. } => {
                let outcome = self.map_file(tid, fd, prot, flags);
                self.reply(tid, seq, outcome, Vec::new());
                Ok(())
            }
            Up::Seen(number) => {
                if let Some(deputy) = self.threads.get_mut(&tid) {
                    deputy.seen(number);
                }
                Ok(())
            }
            Up::Dispositions(dispositions) => {
                self.mirror(tid, dispositions);
                Ok(())
            }
            Up::Traced(traced) => {
                let asked_from = match &traced {
                    Traced::Exit(exit) => exit.asked_from,
                    _ => None,
                };
                let served = asked_from.map(|from| self.served(tid, from)).unwrap_or_default();
                self.actions.push_back(Action::Traced(tid, traced, served));
                Ok(())
            }
            Up::ThreadEnd => {
                if let Some(deputy) = self.threads.get_mut(&tid) {
                    deputy.ending = true;
                }
                self.post(tid, EXIT, [0; 6], None);
                Ok(())
            }
        }
    }

    /// Counts what a traced call costs: bytes on the wire, and the time since its deputy was given it.
    pub(super) fn count(&mut self, tid: Tid, seq: u64, bytes: usize, since: Option<Instant>) {
        if !self.traced {
            return;
        }
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        if self.processes.get(&deputy.process).is_none_or(|process| !process.traced) {
            return;
        }
        if deputy.served.back().is_none_or(|(last, _)| *last != seq) {
            deputy.served.push_back((seq, Served::default()));
            if deputy.served.len() > SERVED_MAX {
                deputy.served.pop_front();
            }
        }
        if let Some((_, served)) = deputy.served.back_mut() {
            served.bytes += bytes as u64;
            let took = since.map_or(0, |since| u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
            served.ns = served.ns.saturating_add(took);
        }
    }

    /// What the requests of a thread have cost from number `from` on.
    fn served(&mut self, tid: Tid, from: u64) -> Served {
        let served = self.threads.get_mut(&tid).map(|deputy| std::mem::take(&mut deputy.served));
        let these = served.into_iter().flatten().filter(|(seq, _)| *seq >= from);
        these.fold(Served::default(), |sum, (_, one)| Served {
            ns: sum.ns.saturating_add(one.ns),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
    }

    /// What of a process is wanted for a trace from now on.
    pub fn trace(&mut self, pid: Tid, wanted: Option<Wanted>) {
        let Some(key) = self.pids.get(&pid).copied() else { return };
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.traced = wanted.is_some();
        self.traced = self.processes.values().any(|process| process.traced);
        self.tell(key, &ToBody::Trace(wanted));
    }

    /// Whether a process that is here is traced.
    pub fn is_traced(&self, pid: Tid) -> bool {
        let process = self.pids.get(&pid).and_then(|key| self.processes.get(key));
        process.is_some_and(|process| process.traced)
    }

    /// The threads of a process that is here.
    pub fn threads_of(&self, pid: Tid) -> Vec<Tid> {
        let process = self.pids.get(&pid).and_then(|key| self.processes.get(key));
        process.map_or_else(Vec::new, |process| process.threads.clone())
    }

    /// Whether a request can be served now. One that crossed a move is made again where the process goes.
    fn ready(&mut self, tid: Tid, seq: u64) -> bool {
        let Some(deputy) = self.threads.get(&tid) else { return false };
        let Some(process) = self.processes.get(&deputy.process) else { return false };
        if deputy.serving.is_some() || !matches!(process.phase, Phase::Away) {
            self.reply(tid, seq, Outcome::NotMade, Vec::new());
            return false;
        }
        true
    }

    /// The node is not trusted: only calls that the table forwards, with buffers within the window.
    fn on_call(&mut self, tid: Tid, call: Call) -> Result<(), String> {
        let forwarded = match table::place_of(call.nr, call.args) {
            Where::Forward => true,
            Where::Special => BOTH_SIDES.contains(&call.nr),
            Where::Local | Where::Home => false,
        };
        if !forwarded {
            return Err(format!("the node asked for call {} that is never forwarded", call.nr));
        }
        if !self.ready(tid, call.seq) {
            return Ok(());
        }
        if let Some(reason) = self.cuts_a_mapped_file(tid, &call) {
            self.reply(tid, call.seq, Outcome::GoHome(reason), Vec::new());
            return Ok(());
        }
        let Some(deputy) = self.threads.get_mut(&tid) else { return Ok(()) };
        deputy.seen(call.seen);
        let crossed = call.mask.is_some() && (call.signaled || call.seen < deputy.signals);
        if crossed && !self.is_prompt(tid, call.nr, &call.args) {
            // A signal is on its way to the body, or there: this call could block past it.
            self.reply(tid, call.seq, Outcome::NotMade, Vec::new());
            return Ok(());
        }
        let Some(deputy) = self.threads.get(&tid) else { return Ok(()) };
        let places = places(&call).ok_or("the node sent a call with buffers beyond the window")?;
        let Some(process) = self.processes.get(&deputy.process) else { return Ok(()) };
        let window = process.area_base + shim::area::window(deputy.slot);
        let slot = deputy.slot;
        let mut args = call.args;
        let mut bufs = call.bufs;
        for patch in &call.patches {
            let target = places.get(usize::from(patch.target)).ok_or("a patch without a buffer")?;
            let address = window + target;
            match patch.at {
                At::Arg(arg) => *args.get_mut(usize::from(arg)).ok_or("a patch of no argument")? = address,
                At::Buf { buf, offset } => {
                    let data = &mut bufs.get_mut(usize::from(buf)).ok_or("a patch in no buffer")?.data;
                    let at = offset as usize;
                    data.get_mut(at..at + 8)
                        .ok_or("a patch beyond its buffer")?
                        .copy_from_slice(&address.to_le_bytes());
                }
            }
        }
        process.area.with(|area| {
            for (buf, place) in bufs.iter().zip(&places) {
                area.write_window(slot, *place, &buf.data);
                let rest = buf.room as usize - buf.data.len();
                if !buf.data.is_empty() && rest > 0 {
                    area.write_window(slot, place + buf.data.len() as u64, &vec![0; rest]);
                }
            }
        });
        process.forwarded.set(process.forwarded.get() + 1);
        self.counts.forwarded += 1;
        if self.serves_one() {
            self.nearness.calls(tid, call.nr, bufs.first().map_or(&[], |buf| &buf.data));
        } else {
            self.nearness.end();
        }
        let serving = Serving {
            seq: call.seq,
            what: What::Call,
            places,
            bufs,
            nr: call.nr,
            args,
            mask: call.mask,
            since: Instant::now(),
            moving: false,
            until: call.until.map(clock::at_monotonic),
        };
        self.serve(tid, serving);
        Ok(())
    }

    /// Whether a call that may block in general does not for what it is about: data of regular files comes and goes
    /// without an end to the wait that a signal could be, and so does that of O_NONBLOCK descriptors. Such a call never
    /// answers EINTR.
    fn is_prompt(&self, tid: Tid, nr: u32, args: &[u64; 6]) -> bool {
        if CLOSING_CALLS.contains(&nr) {
            return true;
        }
        let pid = self.threads.get(&tid).and_then(|deputy| self.processes.get(&deputy.process));
        let Some(pid) = pid.map(|process| process.pid) else { return false };
        if NONBLOCKING_CALLS.contains(&nr)
            && procfs::descriptor_flags(pid, args[0] as i32).is_some_and(|flags| flags & O_NONBLOCK != 0)
        {
            return true;
        }
        DATA_CALLS.contains(&nr)
            && fs::metadata(format!("/proc/{pid}/fd/{}", args[0] as i32))
                .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
    }

    /// Whether a call makes a file shorter that the process maps: what is mapped on the node is the file's content as it
    /// was, and would not end where the file does from then on (mmap(2), SIGBUS).
    fn cuts_a_mapped_file(&self, tid: Tid, call: &Call) -> Option<String> {
        const O_TRUNC: u64 = 0o1000;
        let path = |at: &str, pid: Tid| {
            let name = call.bufs.first()?.data.split(|byte| *byte == 0).next()?;
            // An absolute name replaces what is before it.
            Some(Path::new(&format!("/proc/{pid}/{at}")).join(OsStr::from_bytes(name)))
        };
        let process = self.processes.get(&self.threads.get(&tid)?.process)?;
        let (pid, args) = (process.pid, call.args);
        let from = |dir: u64| match dir as i32 {
            AT_FDCWD => "cwd".to_owned(),
            fd => format!("fd/{fd}"),
        };
        let file = match table::by_number(call.nr)?.name {
            "ftruncate" => format!("/proc/{pid}/fd/{}", args[0] as i32).into(),
            "truncate" | "creat" => path("cwd", pid)?,
            "open" if args[1] & O_TRUNC != 0 => path("cwd", pid)?,
            "openat" if args[2] & O_TRUNC != 0 => path(&from(args[0]), pid)?,
            _ => return None,
        };
        let metadata = fs::metadata(&file).ok()?;
        let mapped = process.mapped.contains(&(metadata.dev(), metadata.ino()));
        mapped.then(|| format!("{} is cut while it is mapped", file.display()))
    }

    fn serve(&mut self, tid: Tid, serving: Serving) {
        let quick = serving.what == What::Call;
        let (nr, args, mask) = (serving.nr, serving.args, serving.mask);
        if let Some(deputy) = self.threads.get_mut(&tid) {
            deputy.serving = Some(serving);
        }
        self.post(tid, nr, args, mask);
        // A fork or an exec stops the deputy on its way: only the poll loop can take it on.
        if self.await_briefly(tid, mask.is_some() || !quick) {
            self.finish_call(tid);
        }
    }

    /// The deputy has answered.
    pub(super) fn finish_call(&mut self, tid: Tid) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        let slot = deputy.slot;
        if process.area.with(|area| area.state(slot)) != Some(shim::slot::DONE) {
            return;
        }
        let ret = process.area.with(|area| {
            area.clear(slot);
            area.ret(slot)
        });
        let ret = ret.unwrap_or(shim::NOT_MADE);
        let Some(serving) = deputy.serving.take() else { return };
        let child = deputy.child.take();
        if let What::Fork { slot: Some(unused), .. } = serving.what {
            process.area.free(unused);
        }
        if let Some(status) = process.end {
            // Nobody makes the body of a child whose maker is gone.
            if let Some((child, ..)) =
                child.filter(|_| !matches!(serving.what, What::Fork { thread: true, .. }))
            {
                tracee::signal::kill(child, SIGKILL).ok();
            }
            return self.end_as_body(tid, status);
        }
        if ret == shim::NOT_MADE
            && serving.what == What::Call
            && self.is_prompt(tid, serving.nr, &serving.args)
        {
            return self.serve(tid, serving);
        }
        let Some(deputy) = self.threads.get(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        let (pid, window) = (process.pid, process.area_base + shim::area::window(slot));
        let mut outs = process.area.with(|area| collect(area, slot, &serving, ret)).unwrap_or_default();
        if serving.what == What::Call && ret >= 0 {
            self.count_cpu(pid, &serving, window, ret, &mut outs);
        }
        let interrupted = restart::is_code(ret) || ret == -4;
        let outcome = match (serving.what, child) {
            (What::Fork { .. }, Some((_, process, thread))) if ret > 0 => {
                Outcome::Forked { tid: ret as i32, process, thread }
            }
            _ if ret == shim::NOT_MADE => Outcome::NotMade,
            _ if interrupted && serving.until.is_some_and(|until| until <= Instant::now()) => {
                Outcome::Done(table::at_deadline(serving.nr).unwrap_or(ret))
            }
            // EINTR without a handler: a stop of ours did it, since deputies have no handlers.
            _ if interrupted => {
                let until = serving.until.or_else(|| end_of_wait(tid, &serving, ret));
                Outcome::Interrupted { code: ret, until: until.map(clock::monotonic_of) }
            }
            _ if serving.moving && ret > 0 && was_cut(tid, &serving, ret) => Outcome::Cut(ret),
            _ => Outcome::Done(ret),
        };
        if serving.what != What::Quiet {
            self.count(tid, serving.seq, 0, Some(serving.since));
            self.reply(tid, serving.seq, outcome, outs);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn exec(
        &mut self,
        tid: Tid,
        seq: u64,
        (dir, flags): (i32, i32),
        path: &[u8],
        argv: &[u8],
        envp: &[u8],
        mask: u64,
        pending: Vec<ByteBuf>,
    ) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        let slot = deputy.slot;
        let window = process.area_base + shim::area::window(slot);
        // The window: path, strings, then the two arrays of pointers.
        let mut block = path.to_vec();
        block.push(0);
        let (argv_at, envp_at) = (block.len(), block.len() + argv.len());
        block.extend_from_slice(argv);
        block.extend_from_slice(envp);
        block.resize(block.len().next_multiple_of(8), 0);
        let mut arrays = [0u64; 2];
        for (array, (at, strings)) in arrays.iter_mut().zip([(argv_at, argv), (envp_at, envp)]) {
            *array = window + block.len() as u64;
            let mut offset = at;
            for string in strings.split_inclusive(|byte| *byte == 0) {
                block.extend_from_slice(&(window + offset as u64).to_le_bytes());
                offset += string.len();
            }
            block.extend_from_slice(&0u64.to_le_bytes());
        }
        if block.len() as u64 > shim::area::WINDOW_BYTES {
            return self.reply(tid, seq, Outcome::Done(-E2BIG), Vec::new());
        }
        process.area.with(|area| area.write_window(slot, 0, &block));
        deputy.exec_pending = pending;
        let (nr, args) = if dir == AT_FDCWD && flags == 0 {
            (EXECVE, [window, arrays[0], arrays[1], 0, 0, 0])
        } else {
            (EXECVEAT, [dir as u64, window, arrays[0], arrays[1], flags as u64, 0])
        };
        let serving = Serving {
            seq,
            what: What::Exec,
            places: Vec::new(),
            bufs: Vec::new(),
            nr,
            args,
            mask: Some(mask),
            since: Instant::now(),
            moving: false,
            until: None,
        };
        // The new image inherits the mask, so it must be the body's exactly, not joined with the ignored signals.
        if let Some(deputy) = self.threads.get_mut(&tid) {
            deputy.serving = Some(serving);
        }
        self.post_exact(tid, nr, args, mask);
        if self.await_briefly(tid, true) {
            self.finish_call(tid);
        }
    }

    /// What a file mapping shows.
    fn map_file(&mut self, tid: Tid, fd: i32, prot: i32, flags: i32) -> Outcome {
        let Some(pid) = self
            .threads
            .get(&tid)
            .and_then(|deputy| self.processes.get(&deputy.process))
            .map(|process| process.pid)
        else {
            return Outcome::Done(-EBADF);
        };
        let link = format!("/proc/{pid}/fd/{fd}");
        let Ok(path) = fs::read_link(&link) else { return Outcome::Done(-EBADF) };
        let mode = procfs::descriptor_flags(pid, fd).unwrap_or(0) & O_ACCMODE;
        if mode == O_WRONLY {
            return Outcome::Done(-EACCES);
        }
        let name = path.display();
        if flags & MAP_TYPE != MAP_PRIVATE && (mode != 0 || prot & PROT_WRITE != 0) {
            return Outcome::GoHome(format!("shared writable mapping of {name}"));
        }
        match fs::metadata(&link) {
            Ok(metadata) if metadata.is_file() => {}
            _ => return Outcome::GoHome(format!("mapping of {name}, which is no regular file")),
        }
        let Ok(file) = File::open(&link) else {
            return Outcome::GoHome(format!("mapping of {name}, which cannot be read again"));
        };
        let of = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let identified = self.shared.contents.borrow_mut().identify(file);
        match identified {
            Ok((content, size)) => {
                if let (Ok(of), Some(key)) = (of, self.threads.get(&tid).map(|deputy| deputy.process))
                    && let Some(process) = self.processes.get_mut(&key)
                {
                    process.mapped.insert(of);
                }
                Outcome::File {
                    content,
                    size,
                    path: ByteBuf::from(path.as_os_str().as_encoded_bytes().to_vec()),
                }
            }
            Err(why) => Outcome::GoHome(format!("mapping of {name}: {why}")),
        }
    }

    /// The body's ignored signals changed: the deputy keeps them blocked from its next call on, and what was held
    /// back of those that are no longer ignored is dropped, as it would have been when it came.
    fn mirror(&mut self, tid: Tid, mut dispositions: wire::session::Dispositions) {
        // What nobody can ignore or catch (signal(7)) could not be set here either.
        const FIXED: u64 = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1);
        dispositions.ignored &= !FIXED;
        dispositions.caught &= !FIXED;
        let Some(deputy) = self.threads.get(&tid) else { return };
        let key = deputy.process;
        let Some(process) = self.processes.get_mut(&key) else { return };
        let before = process.idle_mask();
        let old = process.dispositions;
        process.dispositions = dispositions;
        let now = process.idle_mask();
        let reaping = |d: &wire::session::Dispositions| (d.ignored >> 16 & 1, d.child_flags);
        if before != now || old.ignored != dispositions.ignored || reaping(&old) != reaping(&dispositions) {
            self.mirror_by_injection(tid, before & !now & !dispositions.waited);
        }
    }
}

/// When the wait of a socket's call is over that was interrupted. Only one with a timeout of the socket's answers EINTR to
/// a mere stop (signal(7)).
fn end_of_wait(tid: Tid, serving: &Serving, ret: i64) -> Option<Instant> {
    let name = table::by_number(serving.nr)?.name;
    let which = timeout_kind(name).filter(|_| ret == -4)?;
    serving.since.checked_add(socket_timeout_of(tid, serving.args[0], which)?)
}

/// Whether a write ended early because we stopped it.
fn was_cut(tid: Tid, serving: &Serving, ret: i64) -> bool {
    let Some(call) = table::by_number(serving.nr) else { return false };
    matches!(call.name, "write" | "sendto")
        && (ret as u64) < serving.args[2]
        && blocks_until_written(tid, serving.args[0], call.name, serving.args[3])
}

fn collect(area: &tracee::area::Area, slot: u64, serving: &Serving, ret: i64) -> Vec<(u16, u32, ByteBuf)> {
    if serving.bufs.is_empty() {
        return Vec::new();
    }
    // What the rules look at: whole buffers are only read where a length stands in one.
    let mut after: Vec<Vec<u8>> = vec![Vec::new(); serving.bufs.len()];
    for buf in &serving.bufs {
        if let table::Out::LenFrom { buf, offset, .. } = &buf.out
            && let Some(place) = serving.places.get(usize::from(*buf))
            && let Some(room) = serving.bufs.get(usize::from(*buf)).map(|buf| buf.room)
            && u64::from(*offset) + 4 <= u64::from(room)
        {
            let mut bytes = vec![0; *offset as usize + 4];
            area.read_window(slot, *place, &mut bytes);
            if bytes.len() > after[usize::from(*buf)].len() {
                after[usize::from(*buf)] = bytes;
            }
        }
    }
    let rules = serving.bufs.iter().map(|buf| (buf.room, &buf.out));
    let ranges =
        table::outputs(rules, ret, &|buf| after.get(usize::from(buf)).map_or(&[][..], Vec::as_slice));
    ranges
        .into_iter()
        .map(|range| {
            let mut bytes = vec![0; range.len as usize];
            let place = serving.places[usize::from(range.buf)] + u64::from(range.offset);
            area.read_window(slot, place, &mut bytes);
            (range.buf, range.offset, ByteBuf::from(bytes))
        })
        .collect()
}

/// Where the buffers of a call go in the window, each with the alignment it has in the guest: within a page for
/// large ones (O_DIRECT asks for it), within 64 bytes for small ones.
fn places(call: &Call) -> Option<Vec<u64>> {
    const SMALL_BYTES: u32 = 512;
    let mut places = Vec::with_capacity(call.bufs.len());
    let mut at = 0u64;
    for buf in &call.bufs {
        let align = if buf.room < SMALL_BYTES { 64 } else { 4096 };
        let want = u64::from(buf.page_offset) % align;
        let base = at - at % align + want;
        at = if base < at { base + align } else { base };
        places.push(at);
        at += u64::from(buf.room);
        if at > shim::area::WINDOW_BYTES || buf.data.len() > buf.room as usize {
            return None;
        }
    }
    Some(places)
}

/// Requests whose cost is kept: a call that is interrupted is requested anew.
const SERVED_MAX: usize = 16;
const AT_FDCWD: i32 = -100;
