//! Threads that stay on one core.

use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that both sides share, and the second where there are two.
pub const CORES: [usize; 2] = [0, 1];

/// Keeps the calling thread on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))
}

/// Runs `work` on a thread that stays on `core`.
pub fn on_core<T: Send + 'static>(
    core: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    thread::spawn(move || {
        pin(core)?;
        work()
    })
}

/// The result of such a thread.
pub fn joined<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    match handle.join() {
        Ok(result) => result,
        Err(_) => bail!("a side of the measurement panicked"),
    }
}
