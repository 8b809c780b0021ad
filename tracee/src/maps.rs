//! /proc/PID/maps and smaps, parsed.

use std::fs;
use std::io;

use crate::Tid;

/// One line of /proc/PID/maps, see proc_pid_maps(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// PROT_READ, PROT_WRITE, PROT_EXEC bits.
    pub prot: i32,
    /// MAP_SHARED rather than MAP_PRIVATE.
    pub shared: bool,
    /// Offset into the file in bytes.
    pub offset: u64,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file, 0 when there is none.
    pub inode: u64,
    /// Path or pseudo-path such as `[stack]`, with the kernel's escapes (`\012`) undone.
    pub path: Vec<u8>,
    /// VmFlags of smaps, two letters each, when they were read; see proc_pid_smaps(5).
    pub flags: Vec<[u8; 2]>,
}

impl Mapping {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never true of what the kernel lists.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Whether smaps listed this flag, for example `b"gd"` for a stack that grows.
    pub fn has_flag(&self, flag: &[u8; 2]) -> bool {
        self.flags.contains(flag)
    }

    /// Whether it is of MAP_SHARED and of a file that was opened for reading only: no write by it reaches the file, ever
    /// (`do_mmap` in the kernel's mmap.c takes VM_SHARED away again). Needs the flags.
    pub fn is_view(&self) -> bool {
        self.shared && self.inode != 0 && !self.flags.is_empty() && !self.has_flag(b"sh")
    }
}

/// Reads /proc/TID/maps.
pub fn read(tid: Tid) -> io::Result<Vec<Mapping>> {
    let text = fs::read(format!("/proc/{tid}/maps"))?;
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

/// Reads /proc/TID/smaps for the flags as well; slower, since the kernel walks the page tables.
pub fn read_with_flags(tid: Tid) -> io::Result<Vec<Mapping>> {
    parse_smaps(&fs::read(format!("/proc/{tid}/smaps"))?)
}

fn parse_smaps(text: &[u8]) -> io::Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A header line starts with a lower-case hexadecimal address, a field line with a capital.
        if !line[0].is_ascii_uppercase() {
            mappings.push(parse_line(line)?);
        } else if let Some(flags) = line.strip_prefix(b"VmFlags:")
            && let Some(last) = mappings.last_mut()
        {
            last.flags =
                flags.split(|byte| *byte == b' ').filter_map(|flag| <[u8; 2]>::try_from(flag).ok()).collect();
        }
    }
    Ok(mappings)
}

fn parse_line(line: &[u8]) -> io::Result<Mapping> {
    parse_fields(line).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("unreadable maps line: {}", line.escape_ascii()))
    })
}

fn parse_fields(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (start, end) = text()?.split_once('-')?;
    let perms = text()?.as_bytes();
    let offset = u64::from_str_radix(text()?, 16).ok()?;
    let (major, minor) = text()?.split_once(':')?;
    let inode = text()?.parse().ok()?;
    let path = fields.next().unwrap_or_default();
    let path = unescape(&path[path.iter().position(|byte| *byte != b' ').unwrap_or(path.len())..]);
    let bit = |at: usize, letter: u8, prot: i32| if perms.get(at) == Some(&letter) { prot } else { 0 };
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        prot: bit(0, b'r', libc::PROT_READ) | bit(1, b'w', libc::PROT_WRITE) | bit(2, b'x', libc::PROT_EXEC),
        shared: perms.get(3) == Some(&b's'),
        offset,
        device: libc::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode,
        path,
        flags: Vec::new(),
    })
}

/// The kernel writes a newline in a path as `\012`.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        match tail {
            [b'0', b'1', b'2', after @ ..] if *first == b'\\' => {
                plain.push(b'\n');
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_paths_with_spaces_and_newlines() {
        let line = b"7f00-8000 r-xp 00001000 fe:01 42    /tmp/a b\\012c";
        let mapping = parse_line(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset, mapping.inode), (0x7f00, 0x8000, 0x1000, 42));
        assert_eq!(mapping.prot, libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(mapping.path, b"/tmp/a b\nc");
        assert!(!mapping.shared);
    }

    #[test]
    fn own_maps_have_a_stack_that_grows() {
        let mappings = read_with_flags(std::process::id() as i32).unwrap();
        let stack = mappings.iter().find(|mapping| mapping.path == b"[stack]").unwrap();
        assert!(stack.has_flag(b"gd"));
    }

    #[test]
    fn a_file_opened_for_reading_is_viewed() {
        let text = |flags| format!("7f00-8000 r--s 00000000 fe:01 42    /tmp/a\nVmFlags: {flags}\n");
        let mapping = |flags| parse_smaps(text(flags).as_bytes()).unwrap().remove(0);
        assert!(mapping("rd mr me ms").is_view());
        assert!(!mapping("rd sh mr mw me ms").is_view());
    }

    #[test]
    fn refuses_a_broken_line() {
        assert!(parse_line(b"hello").is_err());
    }
}
