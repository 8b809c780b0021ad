//! Two pages of ours in another process: the shim's code and a scratch page for the arguments of injected calls.

use crate::inject::{InjectError, Injector};
use crate::memory;

const PAGE: u64 = 4096;

/// Where the shim is in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foothold {
    base: u64,
}

impl Foothold {
    /// Bytes of address space.
    pub const BYTES: u64 = 2 * PAGE;

    /// Maps the shim at `base`, which must be free, and makes further injected calls from there.
    pub fn install(injector: &mut Injector, base: u64) -> Result<Foothold, InjectError> {
        let rw = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        injector.call("mmap", libc::SYS_mmap, [base, Self::BYTES, rw, flags, u64::MAX, 0])?;
        memory::write_all(injector.tid(), base, shim::CODE)?;
        let rx = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        injector.call("mprotect", libc::SYS_mprotect, [base, PAGE, rx, 0, 0, 0])?;
        injector.set_site(base + shim::entry::SITE);
        Ok(Foothold { base })
    }

    /// A foothold that was inherited by fork.
    pub fn inherited(base: u64) -> Foothold {
        Foothold { base }
    }

    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The range it takes.
    pub fn range(&self) -> (u64, u64) {
        (self.base, self.base + Self::BYTES)
    }

    /// Address of a `syscall` instruction.
    pub fn site(&self) -> u64 {
        self.base + shim::entry::SITE
    }

    /// Where a deputy's thread starts.
    pub fn entry(&self, offset: u64) -> u64 {
        self.base + offset
    }

    /// A page for arguments and results.
    pub fn scratch(&self) -> u64 {
        self.base + PAGE
    }
}
