//! Moves of processes with much memory: their pages go first, while they run.

use tracee::Tid;

use super::Supervisor;
use super::nodes::NodeIndex;
use crate::away::NotCopied;
use crate::procfs;

/// Memory of its own from which on a process is copied while it runs: at the 0.5 GB/s of a fast link it would be stopped
/// for 30 ms.
pub(super) const PRECOPY_BYTES: u64 = 16 << 20;

impl Supervisor {
    /// Begins to copy a process that runs at home to the node, if that is worth it: then the move itself follows when
    /// little is left. Whether that is so.
    pub(super) fn precopy(&mut self, pid: Tid, node: NodeIndex, reason: &str) -> Result<bool, String> {
        if self.elsewhere.nodes.copier(pid).is_some() {
            return Err("it is moving already".into());
        }
        if procfs::own_bytes(pid).is_none_or(|bytes| bytes < self.precopy_bytes) {
            return Ok(false);
        }
        let (mut threads, unfinished, stopped) = self.stop_and_put_down(pid);
        let begun = match (stopped, self.elsewhere.nodes.get(node)) {
            (Ok(()), Some(away)) if !threads.is_empty() => {
                let leader = threads.remove(0);
                match away.precopy(pid, leader, unfinished.get(&pid), reason) {
                    Ok(leader) => {
                        threads.insert(0, leader);
                        Ok(true)
                    }
                    Err(NotCopied::Unwatched(leader)) => {
                        threads.insert(0, leader);
                        Ok(false)
                    }
                    Err(NotCopied::Stay(leader, why)) => {
                        threads.insert(0, leader);
                        Err(why)
                    }
                    Err(NotCopied::Gone(event, _)) => {
                        self.before_reaping(pid, event);
                        self.reaped(pid);
                        Err("it has ended".into())
                    }
                }
            }
            (Err(why), _) => Err(why),
            _ => Ok(false),
        };
        for stopped in threads {
            self.go_on_at_home(stopped, &unfinished);
        }
        begun
    }

    /// Little is left: the move itself.
    pub(super) fn copied(&mut self, pid: Tid, node: NodeIndex, reason: &str) {
        if let Err(why) = self.send_stopped(pid, node, reason) {
            self.stop_copy(pid, &why);
        }
    }

    /// A process that is being copied has ended, or has become another program.
    pub(super) fn stop_copy(&mut self, pid: Tid, why: &str) {
        let nodes = &mut self.elsewhere.nodes;
        if let Some(away) = nodes.copier(pid).and_then(|index| nodes.get(index)) {
            away.stop_copy(pid, why);
            self.away_actions();
        }
    }
}
