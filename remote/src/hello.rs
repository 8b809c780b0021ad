//! This machine's hello.

use tracee::machine::Machine;
use wire::message::{Clocks, Hello, VERSION};

/// Describes this machine and its clocks as they are now.
pub(crate) fn hello(name: &str) -> Hello {
    let machine = Machine::look();
    Hello {
        version: VERSION,
        name: name.into(),
        boot_id: machine.boot_id,
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        vdso_hash: *blake3::hash(&machine.vdso).as_bytes(),
        cpu_features: machine.cpu.features,
        xcr0: machine.cpu.xcr0,
        xsave_size: machine.cpu.xsave_bytes,
        clocks: Clocks {
            monotonic_ns: machine.monotonic_ns,
            boottime_ns: machine.boottime_ns,
            realtime_ns: machine.realtime_ns,
        },
    }
}
