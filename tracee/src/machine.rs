//! What of this machine decides whether an image fits it.

use std::fs;

use crate::vdso::Vdso;
use crate::{capture, maps, memory};

/// This machine as a home or a node says hello with.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Changes at every boot.
    pub boot_id: [u8; 16],
    /// The vDSO, without what only [`crate::vdso::random_parameters`] knows; empty where the kernel gives none (vdso=0 on
    /// its command line).
    pub vdso: Vdso,
    /// The CPU.
    pub cpu: Cpu,
    /// CLOCK_MONOTONIC now, in nanoseconds.
    pub monotonic_ns: i64,
    /// CLOCK_BOOTTIME now, in nanoseconds.
    pub boottime_ns: i64,
    /// CLOCK_REALTIME now, in nanoseconds.
    pub realtime_ns: i64,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Machine {
        let own = std::process::id() as i32;
        let vdso = maps::read(own).ok().and_then(|mappings| {
            let (start, end) = capture::vdso_range(&mappings)?;
            let code_start = mappings.iter().find(|mapping| mapping.path == b"[vdso]")?.start;
            let mut code = vec![0; (end - code_start) as usize];
            memory::read_exact(own, code_start, &mut code).ok()?;
            Some(Vdso { code, vvar_bytes: code_start - start, random: None })
        });
        let mut boot_id = [0; 16];
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        for (byte, pair) in boot_id.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            *byte = digit.unwrap_or(0);
        }
        let mut machine = Machine {
            boot_id,
            vdso: vdso.unwrap_or_default(),
            cpu: cpu(),
            monotonic_ns: 0,
            boottime_ns: 0,
            realtime_ns: 0,
        };
        machine.read_clocks();
        machine
    }

    /// Reads the clocks, which alone are not as they were.
    pub fn read_clocks(&mut self) {
        let nanoseconds = |clock| {
            let now = rustix::time::clock_gettime(clock);
            now.tv_sec * 1_000_000_000 + now.tv_nsec
        };
        self.monotonic_ns = nanoseconds(rustix::time::ClockId::Monotonic);
        self.boottime_ns = nanoseconds(rustix::time::ClockId::Boottime);
        self.realtime_ns = nanoseconds(rustix::time::ClockId::Realtime);
    }
}

/// What of a CPU an image depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// CPUID feature words: leaf 1 ecx and edx, leaf 7 ebx, ecx and edx, leaf 0x80000001 ecx and edx.
    pub features: Vec<u32>,
    /// XSAVE components that the kernel enabled (leaf 0xD by way of XGETBV).
    pub xcr0: u64,
    /// Bytes of an XSAVE area with all of them.
    pub xsave_bytes: u32,
}

/// This CPU's features. They are read once: on a virtual machine each CPUID is an exit to its host.
pub fn cpu() -> Cpu {
    static CPU: std::sync::OnceLock<Cpu> = std::sync::OnceLock::new();
    CPU.get_or_init(read_cpu).clone()
}

fn read_cpu() -> Cpu {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    let (one, seven, extended) = (__cpuid(1), __cpuid_count(7, 0), __cpuid(0x8000_0001));
    let (mut xcr0, mut xsave_bytes) = (0, 0);
    if one.ecx & OSXSAVE != 0 {
        // SAFETY: CPUID says that XGETBV exists and is enabled.
        xcr0 = unsafe { xgetbv() };
        xsave_bytes = __cpuid_count(0xd, 0).ebx;
    }
    // Bits 24 to 31 of leaf 1 ebx are the APIC id and are not read; OSXSAVE is the kernel's and is kept.
    let features = vec![one.ecx, one.edx, seven.ebx, seven.ecx, seven.edx, extended.ecx, extended.edx];
    Cpu { features, xcr0, xsave_bytes }
}

/// XCR0.
///
/// # Safety
/// The CPU must have XGETBV enabled (CPUID leaf 1 ecx bit 27).
unsafe fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: promised by the caller; the instruction touches only the registers named.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}
