//! Bodies of a home whose kernel has another vDSO; see [`tracee::vdso`].

use std::os::fd::AsRawFd;

use tracee::foothold::Foothold;
use tracee::image::{Outline, hole_beside};
use tracee::inject::Injector;
use tracee::machine::Machine;
use tracee::maps::Mapping;
use tracee::ptrace::Stopped;
use tracee::sandbox::Sandbox;
use tracee::vdso::{self, LiftError, Place, Trampolines, Vdso};
use tracee::{capture, memory, restore};
use wire::message::Hello;
use wire::session::{self, Begin, Control};
use wire::{Channel, Link};

use crate::build::BuildError;
use crate::session::{SessionError, hear, send};

/// What bodies of this home need if its vDSO is not this machine's, or why there can be none.
pub(crate) fn trampolines(
    link: &mut Link,
    home: &Hello,
    begin: &Begin,
    machine: &Machine,
) -> Result<Result<Option<Trampolines>, String>, SessionError> {
    let hash = |code: &[u8]| *blake3::hash(code).as_bytes();
    let same = home.vdso_hash == hash(&machine.vdso.code) && !begin.foreign_vdso;
    // Images of a home without one have none.
    if same || home.vdso_hash == hash(&[]) {
        return Ok(Ok(None));
    }
    send(link, Channel::CONTROL, &Control::WantVdso)?;
    let sent: session::Vdso = hear(link)?;
    if hash(&sent.code) != home.vdso_hash {
        return Ok(Err("home's vDSO is not the one that it said hello with".into()));
    }
    let random = sent.random.map(|parameters| parameters.into_vec().try_into());
    let Ok(random) = random.transpose() else {
        return Ok(Err("home's vDSO has parameters of another size than any".into()));
    };
    let vdso = Vdso { code: sent.code.into_vec(), vvar_bytes: sent.vvar_bytes, random };
    Ok(Trampolines::new(vdso, &machine.vdso.code).map(Some).map_err(|error| {
        let release = &home.kernel_release;
        format!("the node cannot stand in for the vDSO of home's kernel {release}: {error}")
    }))
}

/// Puts both vDSOs into a fresh body that has the mappings `own`, and unmaps everything else but the foothold.
pub(crate) fn install(
    trampolines: &Trampolines,
    sandbox: &Sandbox,
    injector: &mut Injector,
    foothold: &Foothold,
    outline: &Outline,
    own: &[Mapping],
) -> Result<Place, BuildError> {
    let home = outline.vdso.ok_or(BuildError::Vdso)?;
    let (from, end) = capture::vdso_range(own).unwrap_or_default();
    let ranges = |mapping: &Mapping| (mapping.start, mapping.end);
    let avoid: Vec<_> = own.iter().map(ranges).chain([foothold.range(), home]).collect();
    let at = hole_beside(&outline.vmas, trampolines.bytes(end - from), &avoid).ok_or(BuildError::NoHole)?;
    let place = trampolines.place(home, at, end - from).ok_or(BuildError::Vdso)?;
    let parts: Vec<_> = own.iter().map(ranges).filter(|(start, _)| (from..end).contains(start)).collect();
    restore::move_vdso(injector, &parts, from, at)?;
    restore::wipe(injector, &[foothold.range(), place.own])?;
    let file = vdso::make_file(&trampolines.file(place))?;
    let fd = sandbox.pass_fd(injector, foothold, file.as_raw_fd())?;
    trampolines.map(injector, fd, place)?;
    injector.call("close", CLOSE, [fd as u64, 0, 0, 0, 0, 0])?;
    Ok(place)
}

/// Takes a stopped thread out of what only its body has.
pub(crate) fn lift(trampolines: &Trampolines, place: Place, stopped: &Stopped) -> Result<(), LiftError> {
    let tid = stopped.tid();
    let regs = stopped.regs()?;
    if let Some(lifted) = trampolines.lift(place, &regs, |address| memory::read_u64(tid, address))? {
        stopped.set_regs(&lifted)?;
    }
    Ok(())
}

const CLOSE: i64 = 3;
