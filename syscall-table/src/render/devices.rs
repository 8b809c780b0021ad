//! ioctl(2): numbers of requests, and arguments that only some of them have.

use std::fmt::Write;

use super::Printer;
use super::address::sockaddr;
use super::shapes::{i32_at, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, name, quoted};
use crate::flags;

/// A request's name. Two that have the same number are shown together.
pub(super) fn request(name: &'static str) -> &'static str {
    match name {
        "FICLONE" => "BTRFS_IOC_CLONE or FICLONE",
        "FIDEDUPERANGE" => "BTRFS_IOC_FILE_EXTENT_SAME or FIDEDUPERANGE",
        "TCSETS" => "SNDCTL_TMR_START or TCSETS",
        "TCSETSW" => "SNDCTL_TMR_STOP or TCSETSW",
        "TCSETSF" => "SNDCTL_TMR_CONTINUE or TCSETSF",
        "FICLONERANGE" => "BTRFS_IOC_CLONE_RANGE or FICLONERANGE",
        name => name,
    }
}

/// `_IOC(_IOC_READ, 0x54, 0x2, 0x4)`
pub(super) fn request_number(request: u32) -> String {
    let direction = match request >> 30 {
        0 => "_IOC_NONE",
        1 => "_IOC_WRITE",
        2 => "_IOC_READ",
        _ => "_IOC_READ|_IOC_WRITE",
    };
    let hex = |value: u32| hex(value.into());
    format!(
        "_IOC({direction}, {}, {}, {})",
        hex(request >> 8 & 0xff),
        hex(request & 0xff),
        hex(request >> 16 & 0x3fff)
    )
}

/// `struct ifreq` is a name and a union: which part of it counts, the request says.
const IFREQ_BYTES: usize = 40;
const NAME_BYTES: usize = 16;

fn interface_name(b: &[u8]) -> String {
    let label = b[..NAME_BYTES].split(|&byte| byte == 0).next().unwrap_or_default();
    quoted(label, NAME_BYTES)
}

fn interface_field(request: &str, b: &[u8]) -> Option<String> {
    let value = &b[NAME_BYTES..];
    let number = |label: &str| format!("{label}={}", i32_at(value, 0));
    let address = |label: &str| format!("{label}={}", sockaddr(&value[..16]));
    Some(match &request[5..] {
        "IFINDEX" => number("ifr_ifindex"),
        "IFMTU" => number("ifr_mtu"),
        "IFMETRIC" => number("ifr_metric"),
        "IFTXQLEN" => number("ifr_qlen"),
        "IFFLAGS" => format!("ifr_flags={}", named(u16_at(value, 0).into(), &flags::IFF)),
        "IFADDR" => address("ifr_addr"),
        "IFDSTADDR" => address("ifr_dstaddr"),
        "IFBRDADDR" => address("ifr_broadaddr"),
        "IFNETMASK" => address("ifr_netmask"),
        "IFHWADDR" => {
            let bytes: Vec<String> = value[2..8].iter().map(|byte| format!("{byte:02x}")).collect();
            let kind = name(u16_at(value, 0).into(), &flags::ARPHRD);
            format!("ifr_hwaddr={{sa_family={kind}, sa_data={}}}", bytes.join(":"))
        }
        _ => return None,
    })
}

impl Printer<'_> {
    /// The argument of a request that needs more than its shape. Returns whether it was one.
    pub(super) fn device_argument(&mut self, addr: u64) -> bool {
        let Some(op) = self.resolved.op else { return false };
        match op.name {
            "SIOCGIFCONF" => self.interface_list(addr),
            "SIOCGIFNAME" => match self.fetch(addr, IFREQ_BYTES) {
                Some(b) if self.failed() => {
                    let _ = write!(self.out, "{{ifr_ifindex={}}}", i32_at(&b, NAME_BYTES));
                }
                Some(b) => {
                    let label = interface_name(&b);
                    let _ = write!(self.out, "{{ifr_ifindex={}, ifr_name={label}}}", i32_at(&b, NAME_BYTES));
                }
                None => self.address(addr),
            },
            request if request.starts_with("SIOCGIF") || request.starts_with("SIOCSIF") => {
                let Some(b) = self.fetch(addr, IFREQ_BYTES) else {
                    self.address(addr);
                    return true;
                };
                let field = interface_field(request, &b);
                let label = interface_name(&b);
                let _ = match field {
                    // What the kernel has not written is not shown.
                    Some(_) if self.failed() && request.starts_with("SIOCG") => {
                        write!(self.out, "{{ifr_name={label}}}")
                    }
                    Some(field) => write!(self.out, "{{ifr_name={label}, {field}}}"),
                    None => write!(self.out, "{{ifr_name={label}, ...}}"),
                };
            }
            "FICLONERANGE" => match self.fetch(addr, 32) {
                Some(b) => {
                    let _ = write!(
                        self.out,
                        "{{src_fd={}, src_offset={}, src_length={}, dest_offset={}}}",
                        u64_at(&b, 0) as i32,
                        u64_at(&b, 8),
                        u64_at(&b, 16),
                        u64_at(&b, 24)
                    );
                }
                None => self.address(addr),
            },
            "TIOCSTI" => match self.fetch(addr, 1) {
                Some(b) => {
                    let text = quoted(&b, 1);
                    self.out.push_str(&text);
                }
                None => self.address(addr),
            },
            "FS_IOC_GETFLAGS" | "FS_IOC_SETFLAGS" if !self.failed() || op.name == "FS_IOC_SETFLAGS" => {
                match self.word32(addr) {
                    Some(bits) => {
                        let bits = named(bits.into(), &flags::FS_FLAG);
                        let _ = write!(self.out, "[{bits}]");
                    }
                    None => self.address(addr),
                }
            }
            // Numbers that strace(1) does not look at.
            "FIGETBSZ" | "FIBMAP" | "TIOCGPTLCK" | "TIOCGPKT" | "FIOQSIZE" => self.address(addr),
            _ => return false,
        }
        true
    }

    /// `struct ifconf`: a list of `struct ifreq` with addresses.
    fn interface_list(&mut self, addr: u64) {
        let Some(head) = self.fetch(addr, 16).filter(|_| !self.failed()) else { return self.address(addr) };
        let (bytes, list) = (u32_at(&head, 0) as usize, u64_at(&head, 8));
        let count = bytes / IFREQ_BYTES;
        let _ = write!(self.out, "{{ifc_len={bytes}");
        if count > 0 && bytes.is_multiple_of(IFREQ_BYTES) {
            let _ = write!(self.out, " /* {count} * sizeof(struct ifreq) */");
        }
        self.out.push_str(", ifc_buf=");
        let shown = count.min(self.style.elements + 1) * IFREQ_BYTES;
        match self.fetch(list, shown).filter(|_| list != 0) {
            Some(data) => {
                let items: Vec<&[u8]> = data.chunks_exact(IFREQ_BYTES).collect();
                self.list(&items, ", ", |printer, item| {
                    let (label, address) = (interface_name(item), sockaddr(&item[NAME_BYTES..][..16]));
                    let _ = write!(printer.out, "{{ifr_name={label}, ifr_addr={address}}}");
                });
            }
            None => self.address(list),
        }
        self.out.push('}');
    }
}
