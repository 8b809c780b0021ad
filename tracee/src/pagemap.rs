//! Which pages of a process are its own: present or swapped, and neither a file's nor the zero page.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::{Errno, Tid};

const PAGE: u64 = 4096;

/// An open /proc/PID/pagemap.
#[derive(Debug)]
pub struct Pagemap {
    file: File,
    can_scan: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`, include/uapi/linux/fs.h.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
/// Write-protects what is reported, for userfaultfd's asynchronous mode; mappings that are not in it are left out.
const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

impl Pagemap {
    /// Opens the page map of a process.
    pub fn open(pid: Tid) -> io::Result<Pagemap> {
        Ok(Pagemap { file: File::open(format!("/proc/{pid}/pagemap"))?, can_scan: true })
    }

    /// The ranges of `start..end` that hold pages of the process's own.
    pub fn own_pages(&mut self, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
        if self.can_scan {
            match self.scan(start, end, 0, 0) {
                Ok(ranges) => return Ok(ranges),
                // Kernels before 6.7 know no PAGEMAP_SCAN.
                Err(Errno(libc::ENOTTY | libc::EINVAL)) => self.can_scan = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.read_entries(start, end)
    }

    /// Those of them that were written since they were last protected, for a mapping in userfaultfd's asynchronous
    /// write-protect mode; of another all. With `protect` they are protected again before this returns: what is written
    /// from then on is reported the next time. (Linux 6.7)
    pub fn written_pages(&self, start: u64, end: u64, protect: bool) -> Result<Vec<(u64, u64)>, Errno> {
        self.scan(start, end, if protect { PM_SCAN_WP_MATCHING } else { 0 }, PAGE_IS_WRITTEN)
    }

    /// Pages of the process's own that are in the category `besides` too.
    fn scan(&self, start: u64, end: u64, flags: u64, besides: u64) -> Result<Vec<(u64, u64)>, Errno> {
        let mut ranges = Vec::new();
        let mut at = start;
        let mut regions = [PageRegion::default(); 512];
        while at < end {
            let mut arg = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags,
                start: at,
                end,
                walk_end: 0,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                max_pages: 0,
                category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
                category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO | besides,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: 0,
            };
            // SAFETY: the argument is a pm_scan_arg whose vec names a live array of that many regions.
            let got = unsafe { libc::ioctl(self.file.as_raw_fd(), PAGEMAP_SCAN, &raw mut arg) };
            if got < 0 {
                return Err(Errno::last());
            }
            for region in &regions[..got as usize] {
                push(&mut ranges, region.start, region.end);
            }
            if arg.walk_end <= at {
                break;
            }
            at = arg.walk_end;
        }
        Ok(ranges)
    }

    fn read_entries(&self, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
        let mut ranges = Vec::new();
        let mut entries = [0u8; 64 << 10];
        let mut at = start;
        while at < end {
            let pages = ((end - at) / PAGE).min(entries.len() as u64 / 8);
            let got = self.file.read_at(&mut entries[..pages as usize * 8], at / PAGE * 8)?;
            if got == 0 {
                break;
            }
            for (i, entry) in entries[..got].chunks_exact(8).enumerate() {
                let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
                let (present, swapped, file) = (entry >> 63 & 1, entry >> 62 & 1, entry >> 61 & 1);
                if present | swapped == 1 && file == 0 {
                    let page = at + i as u64 * PAGE;
                    push(&mut ranges, page, page + PAGE);
                }
            }
            at += (got / 8) as u64 * PAGE;
        }
        Ok(ranges)
    }
}

fn push(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    match ranges.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => ranges.push((start, end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_pages_are_found_both_ways() {
        let len = 64 * PAGE as usize;
        let memory = vec![0u8; len + PAGE as usize];
        let base = (memory.as_ptr() as u64).next_multiple_of(PAGE);
        let mut own = memory;
        let offset = (base - own.as_ptr() as u64) as usize;
        own[offset + 3 * PAGE as usize] = 1;
        own[offset + 5 * PAGE as usize] = 1;
        let mut pagemap = Pagemap::open(std::process::id() as i32).unwrap();
        for can_scan in [true, false] {
            pagemap.can_scan = can_scan;
            let ranges = pagemap.own_pages(base, base + len as u64).unwrap();
            let has =
                |page: u64| ranges.iter().any(|(start, end)| (*start..*end).contains(&(base + page * PAGE)));
            assert!(has(3) && has(5), "{ranges:?}");
        }
        drop(own);
    }
}
