//! Pre-copy: the pages of a process travel while it still runs at home, and what it writes meanwhile travels again, until so
//! little is left that stopping the process for it is short.
//!
//! The node has a body prepared with the process's mappings. In each round pages are protected first and read then, so
//! that no write is missed; the last round is the move itself (`out.rs`), which says what of the body's pages is void.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rangemap::RangeSet;
use tracee::capture::{self, CaptureError, PageReader, runs_of};
use tracee::dirty::Tracker;
use tracee::image::{Image, Outline, Unfinished, Vma, alike, outside};
use tracee::inject::{InjectError, step_out};
use tracee::ptrace::Stopped;
use tracee::{Tid, maps};
use wire::message;
use wire::session::{self, ProcessKey, ToBody};

use super::out::{injector, settle_call};
use super::{Action, Away, Move, QUEUE_BYTES_MAX};

/// The process is stopped for the rest when that takes about so long.
const FREEZE: Duration = Duration::from_millis(20);
/// What is left is not taken for more or less than this, whatever the link's speed looked like.
const LEFT_BYTES: (u64, u64) = (1 << 20, 64 << 20);
/// A round that leaves more than this share of the one before does not shrink it.
const SHRINKS: f64 = 0.75;
/// Rounds that do not shrink before it is given up to wait for better.
const MAX_FLAT_ROUNDS: u32 = 2;
/// Rounds in all.
const MAX_ROUNDS: u32 = 16;
/// Bytes sent before the supervisor looks after others again.
const TURN_BYTES: u64 = 2 << 20;

/// One pre-copy.
pub(super) struct Precopy {
    key: ProcessKey,
    tracker: Tracker,
    reader: PageReader,
    /// What the node was told.
    outline: Outline,
    /// The node has said so.
    prepared: bool,
    /// Pages that the body has as they were when they were last looked at.
    done: RangeSet<u64>,
    /// Pages that the body was sent: one that is all zero again, or gone, is not so there.
    sent: RangeSet<u64>,
    /// Runs of this round still to be sent: index of the mapping, and range.
    todo: VecDeque<(usize, (u64, u64))>,
    round: u32,
    flat_rounds: u32,
    round_began: Instant,
    round_bytes: u64,
    since: Instant,
    bytes: u64,
    reason: String,
}

/// What the move itself goes on with.
pub(super) struct Prepared {
    pub(super) key: ProcessKey,
    pub(super) since: Instant,
    pub(super) bytes: u64,
    /// Ranges to be sent, by mapping of the image.
    pub(super) left: Vec<Vec<(u64, u64)>>,
    /// Ranges of the body's that are void.
    pub(super) stale: Vec<(u64, u64)>,
    sent: RangeSet<u64>,
    /// Its end lifts the protection, which is cheap when the mappings are gone.
    _tracker: Tracker,
}

impl Prepared {
    /// Whether the body has nothing in a range.
    pub(super) fn is_fresh(&self, (start, end): (u64, u64)) -> bool {
        !self.sent.overlaps(&(start..end))
    }
}

/// Why a process cannot be copied while it runs.
#[derive(Debug)]
pub enum NotCopied {
    /// Its kernel or its limits do not allow to watch its writes: it can be moved otherwise.
    Unwatched(Stopped),
    /// It has something that keeps it at home.
    Stay(Stopped, String),
    /// It has ended.
    Gone(tracee::Event, tracee::wait::CpuTime),
}

impl Away {
    /// Begins to copy a process that goes on at home. Its leader is stopped, in any state; `unfinished` is its interrupted
    /// call. When [`Action::Copied`] comes it is time for [`Away::send_out`].
    pub fn precopy(
        &mut self,
        pid: Tid,
        leader: Stopped,
        unfinished: Option<&Unfinished>,
        reason: &str,
    ) -> Result<Stopped, NotCopied> {
        let begun = self.outline(pid).and_then(|outline| {
            let reader = PageReader::open(pid).map_err(CaptureError::Io)?;
            Ok((outline, reader))
        });
        let (outline, reader) = match begun {
            Ok(begun) => begun,
            Err(error) => return Err(NotCopied::Stay(leader, error.to_string())),
        };
        let tracker = (|| {
            settle_call(&leader, unfinished)?;
            let leader = step_out(leader, outline.vdso.unwrap_or_default())?;
            let mappings = maps::read(pid).map_err(|_| tracee::Errno::ESRCH)?;
            let mut injector = injector(leader, &mappings)?;
            let tracker = Tracker::begin(&mut injector);
            Ok::<_, InjectError>((injector.finish()?, tracker))
        })();
        let (leader, tracker) = match tracker {
            Ok((leader, Ok(tracker))) => (leader, tracker),
            Err(InjectError::Gone(_, event, time)) | Ok((_, Err(InjectError::Gone(_, event, time)))) => {
                return Err(NotCopied::Gone(event, time));
            }
            // Also after a failure: what was injected has put it back, or it was killed.
            Ok((leader, Err(_))) => return Err(NotCopied::Unwatched(leader)),
            Err(_) => return Err(NotCopied::Unwatched(tracee::Running::attached(pid).stopped())),
        };
        let now = Instant::now();
        let copy = Precopy {
            key: ProcessKey(self.shared.key()),
            tracker,
            reader,
            outline,
            prepared: false,
            done: RangeSet::new(),
            sent: RangeSet::new(),
            todo: VecDeque::new(),
            round: 0,
            flat_rounds: 0,
            round_began: now,
            round_bytes: 0,
            since: now,
            bytes: 0,
            reason: reason.into(),
        };
        self.tell(copy.key, &prepare(&copy.outline));
        self.copies.insert(pid, copy);
        Ok(leader)
    }

    /// Whether a process is being copied.
    pub fn is_copying(&self, pid: Tid) -> bool {
        self.copies.contains_key(&pid)
    }

    /// Gives a copy up: the process has ended, is another program now, or is wanted at home.
    pub fn stop_copy(&mut self, pid: Tid, why: &str) {
        let Some(copy) = self.copies.remove(&pid) else { return };
        self.let_go(copy.key, pid, None);
        self.actions.push_back(Action::Moved(Move {
            pid,
            from: "home".into(),
            to: self.name.clone(),
            reason: copy.reason,
            freeze_ms: 0.0,
            total_ms: copy.since.elapsed().as_secs_f64() * 1e3,
            bytes: copy.bytes,
            failed: Some(why.into()),
        }));
    }

    /// Gives up all: nothing goes there any more.
    pub fn stop_copies(&mut self, why: &str) {
        for pid in self.copies.keys().copied().collect::<Vec<_>>() {
            self.stop_copy(pid, why);
        }
    }

    fn copy_of(&self, key: ProcessKey) -> Option<Tid> {
        self.copies.iter().find(|(_, copy)| copy.key == key).map(|(pid, _)| *pid)
    }

    /// The body has the mappings that were asked for.
    pub(super) fn on_prepared(&mut self, key: ProcessKey) {
        let Some(pid) = self.copy_of(key) else { return };
        if let Some(copy) = self.copies.get_mut(&pid) {
            copy.prepared = true;
            if copy.round > 0 {
                return;
            }
            let vmas = std::mem::take(&mut copy.outline.vmas);
            let looked = copy.look(&vmas);
            copy.outline.vmas = vmas;
            if let Err(error) = looked {
                self.stop_copy(pid, &error.to_string());
            }
        }
    }

    /// The node will not have it.
    pub(super) fn on_copy_refused(&mut self, key: ProcessKey, why: &str) {
        if let Some(pid) = self.copy_of(key) {
            self.stop_copy(pid, why);
        }
    }

    /// Whether pages wait for the link.
    pub(super) fn copies_wait(&self) -> bool {
        self.copies.values().any(|copy| copy.prepared)
    }

    /// Sends what the link takes, and begins the next round where one has gone out.
    pub(super) fn go_on_copying(&mut self) {
        for pid in self.copies.keys().copied().collect::<Vec<_>>() {
            if let Err(why) = self.go_on_copying_one(pid) {
                self.stop_copy(pid, &why);
            }
        }
    }

    fn go_on_copying_one(&mut self, pid: Tid) -> Result<(), String> {
        let Some(copy) = self.copies.get_mut(&pid).filter(|copy| copy.prepared) else { return Ok(()) };
        let mut budget = TURN_BYTES;
        while self.link.queued_bytes() < QUEUE_BYTES_MAX && budget > 0 {
            let Some((index, run)) = copy.todo.pop_front() else { break };
            budget = budget.saturating_sub(run.1 - run.0);
            let Some(vma) = copy.outline.vmas.get(index) else { continue };
            let fresh = !copy.sent.overlaps(&(run.0..run.1));
            // A page that is gone by now is seen to be so later.
            let Ok(frames) = copy.reader.frames(vma, run, fresh, pages) else { continue };
            copy.done.insert(run.0..run.1);
            for frame in frames {
                let bytes = frame.len as u64;
                copy.sent.insert(frame.start..frame.start + bytes);
                copy.round_bytes += bytes;
                copy.bytes += bytes;
                // As in `tell`: a link that fails says so when it is driven.
                self.link.send(session::process_channel(copy.key), frame.bytes).ok();
            }
        }
        if !copy.todo.is_empty() || self.link.queued_bytes() > LEFT_BYTES.0 as usize {
            return Ok(());
        }
        let (round_ended, key) = (Instant::now(), copy.key);
        let outline = self.outline(pid).map_err(|error| error.to_string())?;
        let Some(copy) = self.copies.get_mut(&pid) else { return Ok(()) };
        let rate = copy.round_bytes as f64 / (round_ended - copy.round_began).as_secs_f64().max(1e-3);
        let before = copy.round_bytes;
        (copy.round, copy.round_began, copy.round_bytes) = (copy.round + 1, round_ended, 0);
        copy.look(&outline.vmas).map_err(|error| error.to_string())?;
        let left: u64 = copy.todo.iter().map(|(_, (start, end))| end - start).sum();
        let enough = ((rate * FREEZE.as_secs_f64()) as u64).clamp(LEFT_BYTES.0, LEFT_BYTES.1);
        if left as f64 > before as f64 * SHRINKS {
            copy.flat_rounds += 1;
        }
        if left <= enough || copy.flat_rounds >= MAX_FLAT_ROUNDS || copy.round >= MAX_ROUNDS {
            copy.prepared = false;
            self.actions.push_back(Action::Copied { pid, reason: copy.reason.clone() });
        } else if outline != copy.outline {
            copy.prepared = false;
            // What is lost by that is found in the next round.
            copy.keep(&outline.vmas);
            let message = prepare(&outline);
            copy.outline = outline;
            self.tell(key, &message);
        }
        Ok(())
    }

    /// The mappings of a process that runs, as an image would have them, but for flags that only a slower look shows.
    fn outline(&mut self, pid: Tid) -> Result<Outline, CaptureError> {
        let mappings = match self.copies.get(&pid) {
            // The flags of what was there before are known, and the move itself looks again.
            Some(_) => maps::read(pid)?,
            None => maps::read_with_flags(pid)?,
        };
        let vdso = capture::vdso_range(&mappings);
        let mut vmas = self.vmas(pid, &mappings)?;
        if let Some(copy) = self.copies.get(&pid) {
            for vma in &mut vmas {
                let known = copy.outline.vmas.iter().find(|old| old.start < vma.end && vma.start < old.end);
                vma.flags = known.map_or(vma.flags, |old| old.flags);
            }
        }
        Ok(Outline { pid, vmas, vdso })
    }

    /// Takes over what was copied of a process, whose threads are stopped, for its image.
    pub(super) fn take_copy(&mut self, pid: Tid, image: &Image) -> std::io::Result<Option<Prepared>> {
        let Some(mut copy) = self.copies.remove(&pid) else { return Ok(None) };
        copy.keep(&image.vmas);
        let mut own = RangeSet::new();
        let mut left = Vec::with_capacity(image.vmas.len());
        for vma in &image.vmas {
            let pages = copy.reader.own_pages(vma)?;
            for (start, end) in copy.tracker.last_written(vma)? {
                copy.done.remove(start..end);
            }
            left.push(pages.iter().flat_map(|(start, end)| gaps(&copy.done, *start, *end)).collect());
            own.extend(pages.into_iter().map(|(start, end)| start..end));
        }
        let stale = copy.sent.iter().flat_map(|range| gaps(&own, range.start, range.end)).collect();
        let Precopy { key, since, bytes, sent, tracker, .. } = copy;
        Ok(Some(Prepared { key, since, bytes, left, stale, sent, _tracker: tracker }))
    }

    /// The body that was prepared for a process is of no use: it was not captured after all.
    pub(super) fn drop_copy(&mut self, pid: Tid) {
        if let Some(copy) = self.copies.remove(&pid) {
            self.let_go(copy.key, pid, None);
        }
    }
}

impl Precopy {
    /// Forgets what lies where `vmas`, which the node is told next, are not as those that it has.
    fn keep(&mut self, vmas: &[Vma]) {
        let kept = alike(&self.outline.vmas, vmas);
        for gone in outside(&self.outline.vmas, &kept) {
            self.done.remove(gone.start..gone.end);
            self.sent.remove(gone.start..gone.end);
        }
    }

    /// Looks which pages there are to be sent in a round, and protects them.
    fn look(&mut self, vmas: &[Vma]) -> std::io::Result<()> {
        self.todo.clear();
        for (index, vma) in vmas.iter().enumerate() {
            // ENOENT, EINVAL: unmapped meanwhile, or of a kind that cannot be watched: then it counts as written.
            self.tracker.cover(vma).ok();
            for (start, end) in self.tracker.written(vma)? {
                self.done.remove(start..end);
            }
            for (start, end) in self.reader.own_pages(vma)? {
                let missing = gaps(&self.done, start, end);
                self.todo.extend(missing.flat_map(runs_of).map(|run| (index, run)));
            }
        }
        Ok(())
    }
}

/// The parts of a range that are not in a set.
fn gaps(set: &RangeSet<u64>, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let gaps: Vec<_> = set.gaps(&(start..end)).map(|gap| (gap.start, gap.end)).collect();
    gaps.into_iter()
}

fn prepare(outline: &Outline) -> ToBody<'static> {
    ToBody::Prepare { outline: message::encode(outline).into() }
}

pub(super) fn pages(start: u64, len: usize) -> Vec<u8> {
    message::encode_head(&ToBody::Pages { start, bytes: Cow::default() }, len)
}
