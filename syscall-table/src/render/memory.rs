//! Pages, NUMA policies, other processes' memory.

use std::fmt::Write;

use super::Printer;
use super::shapes::u64_at;
use super::values::flags as named;
use crate::flags;

impl Printer<'_> {
    /// The pages that mincore(2) found.
    pub(super) fn resident(&mut self, addr: u64) {
        /// Pages of the longest area whose answer is fetched; only the first are shown.
        const MOST_PAGES: usize = 1 << 16;
        let pages = (self.args[1].div_ceil(4096) as usize).min(MOST_PAGES);
        let Some(found) = self.fetch(addr, pages) else { return self.address(addr) };
        self.list(&found, ", ", |printer, page| {
            let _ = write!(printer.out, "{}", page & 1);
        });
    }

    /// Modes and masks of NUMA policies. Returns whether it was one.
    pub(super) fn policy_argument(&mut self, n: usize, value: u64) -> bool {
        match (self.name(), n) {
            ("get_mempolicy", 0) => match self.word32(value).filter(|_| self.ret == Some(0)) {
                Some(mode) => {
                    let mode = named(mode.into(), &flags::MPOL);
                    let _ = write!(self.out, "[{mode}]");
                }
                None => self.address(value),
            },
            ("get_mempolicy", 1) if self.ret != Some(0) => self.address(value),
            ("get_mempolicy", 1) => self.node_mask(value, self.args[2].saturating_sub(1)),
            ("set_mempolicy", 1) => self.node_mask(value, self.args[2].saturating_sub(1)),
            ("mbind", 3) => self.node_mask(value, self.args[4].saturating_sub(1)),
            _ => return false,
        }
        true
    }

    /// The vectors of process_vm_readv(2): only the caller's own memory is looked at.
    pub(super) fn foreign_vector(&mut self, n: usize, addr: u64) {
        let count = self.args[n + 1];
        let read = self.name() == "process_vm_readv";
        match (n, self.ret) {
            (1, Some(ret)) if read && !self.failed() => self.vector(addr, count, Some(ret as u64), false),
            (1, _) if !read => self.vector(addr, count, None, false),
            _ => self.bare_vector(addr, count),
        }
    }

    /// A NUMA node mask of `bits` bits.
    pub(super) fn node_mask(&mut self, addr: u64, bits: u64) {
        /// As many as the kernel accepts: a page of bits.
        const MOST_BITS: u64 = 4096 * 8;
        let words = bits.div_ceil(64);
        let mask = (words > 0 && bits <= MOST_BITS).then(|| self.fetch(addr, words as usize * 8)).flatten();
        let Some(mask) = mask else { return self.address(addr) };
        let words: Vec<&[u8]> = mask.chunks_exact(8).collect();
        self.list(&words, ", ", |printer, word| {
            let _ = match u64_at(word, 0) {
                0 => write!(printer.out, "{:016}", 0),
                word => write!(printer.out, "{word:#016x}"),
            };
        });
    }
}
