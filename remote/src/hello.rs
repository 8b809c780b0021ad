//! This machine's hello.

use tracee::machine::Machine;
use wire::message::{Clocks, Hello, VERSION};

/// Describes a machine and its clocks as they were when it was looked at.
pub(crate) fn hello(name: &str, machine: &Machine) -> Hello {
    Hello {
        version: VERSION,
        name: name.into(),
        boot_id: machine.boot_id,
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        vdso_hash: *blake3::hash(&machine.vdso.code).as_bytes(),
        cpu_features: machine.cpu.features.clone(),
        xcr0: machine.cpu.xcr0,
        xsave_size: machine.cpu.xsave_bytes,
        clocks: Clocks {
            monotonic_ns: machine.monotonic_ns,
            boottime_ns: machine.boottime_ns,
            realtime_ns: machine.realtime_ns,
        },
    }
}
