use std::collections::HashSet;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use proptest::prelude::*;

use super::*;
use crate::foothold::Foothold;
use crate::image::hole;
use crate::machine::Machine;
use crate::ptrace::Resume;
use crate::regs::Regs;
use crate::{Event, Stop, capture, launch, maps, memory, restore, signal, wait};

const PLACE_HOME: u64 = 0x7ffd_1234_0000;
const PLACE_OWN: u64 = 0x3f00_0000_3000;

fn own() -> Vdso {
    Vdso { random: random_parameters(), ..Machine::look().vdso }
}

/// As bytes in a body: data pages, then image.
fn bytes(vdso: &Vdso) -> u64 {
    vdso.vvar_bytes + vdso.code.len() as u64
}

fn placed(own_code: &[u8]) -> (Trampolines, Place, Vec<u8>) {
    let home = own();
    let range = (PLACE_HOME, PLACE_HOME + bytes(&home));
    let own_bytes = if own_code.is_empty() { 0 } else { bytes(&home) };
    let trampolines = Trampolines::new(home, own_code).unwrap();
    let place = trampolines.place(range, PLACE_OWN, own_bytes).unwrap();
    let file = trampolines.file(place);
    (trampolines, place, file)
}

fn decode(code: &[u8], ip: u64) -> impl Iterator<Item = Instruction> {
    Decoder::with_ip(64, code, ip, DecoderOptions::NONE).into_iter().collect::<Vec<_>>().into_iter()
}

/// The address that a function of the copy jumps to.
fn target(trampolines: &Trampolines, file: &[u8], door: &Door) -> u64 {
    let mut code = decode(&file[door.at as usize..][..JUMP_BYTES as usize], door.at);
    let (load, jump) = (code.next().unwrap(), code.next().unwrap());
    assert_eq!((load.mnemonic(), load.op0_register()), (Mnemonic::Mov, Register::RAX));
    assert_eq!(load.op1_kind(), OpKind::Immediate64);
    assert_eq!((jump.flow_control(), jump.op0_register()), (FlowControl::IndirectBranch, Register::RAX));
    assert!(code.next().is_none());
    assert!(trampolines.doors.contains(door));
    load.immediate64()
}

fn stub_code<'file>(trampolines: &Trampolines, file: &'file [u8], place: Place, at: u64) -> &'file [u8] {
    let start = trampolines.home.code.len() + (at - place.stubs()) as usize;
    let code = &file[start..start + STUB_BYTES];
    let end = code.iter().rposition(|byte| *byte != 0xcc).unwrap();
    &code[..=end]
}

#[test]
fn functions_become_jumps_and_nothing_else_changes() {
    let home = own();
    let (trampolines, place, file) = placed(&home.code);
    assert_eq!(file.len(), home.code.len() + PAGE as usize);
    let mut expected = home.code.clone();
    let mut seen = HashSet::new();
    for door in &trampolines.doors {
        let at = target(&trampolines, &file, door);
        assert!(seen.insert(at), "two functions have one stub");
        let start = door.at as usize;
        expected[start..start + JUMP_BYTES as usize]
            .copy_from_slice(&file[start..start + JUMP_BYTES as usize]);
        let code: Vec<_> = decode(stub_code(&trampolines, &file, place, at), at).collect();
        assert!(code.iter().all(|instruction| !instruction.is_invalid()));
        let last = code.last().unwrap();
        assert_eq!(last.mnemonic(), Mnemonic::Ret);
        let mnemonics: Vec<_> = code.iter().map(Instruction::mnemonic).collect();
        match door.answer {
            Answer::Function(offset) => {
                use Mnemonic::{Add, Call, Mov, Push, Ret};
                assert_eq!(mnemonics, [Push, Push, Push, Mov, Call, Add, Ret]);
                assert_eq!(code[3].immediate64(), PLACE_OWN + home.vvar_bytes + offset);
            }
            Answer::Random(nr) => {
                assert_eq!(code[code.len() - 3].immediate32(), nr);
                // Every jump ends at an instruction.
                let starts: HashSet<u64> = code.iter().map(Instruction::ip).collect();
                for jump in code.iter().filter(|i| i.flow_control() == FlowControl::ConditionalBranch) {
                    assert!(starts.contains(&jump.near_branch_target()));
                }
            }
            Answer::Call(_) => panic!("every function that this machine exports is there"),
        }
    }
    assert_eq!(file[..home.code.len()], expected);
    let names: HashSet<String> =
        symbols::functions(&home.code).unwrap().into_iter().map(|(name, _)| name).collect();
    for name in ["clock_gettime", "gettimeofday", "time", "getcpu"] {
        assert!(names.contains(name));
    }
}

#[test]
fn without_a_vdso_of_its_own_a_machine_makes_calls() {
    let (trampolines, place, file) = placed(&[]);
    for door in &trampolines.doors {
        let at = target(&trampolines, &file, door);
        let code: Vec<_> = decode(stub_code(&trampolines, &file, place, at), at).collect();
        let nr = match door.answer {
            Answer::Call(nr) => {
                let mnemonics: Vec<_> = code.iter().map(Instruction::mnemonic).collect();
                assert_eq!(mnemonics, [Mnemonic::Mov, Mnemonic::Syscall, Mnemonic::Ret]);
                nr
            }
            Answer::Random(nr) => nr,
            Answer::Function(_) => panic!("there is no function"),
        };
        assert_eq!(code[code.len() - 3].immediate32(), nr);
        assert_eq!(code[code.len() - 2].mnemonic(), Mnemonic::Syscall);
    }
}

#[test]
fn a_vdso_that_was_taken_apart_has_no_place() {
    let (home, code) = (own(), own().code);
    let len = bytes(&home);
    let trampolines = Trampolines::new(home, &code).unwrap();
    let place = |range| trampolines.place(range, PLACE_OWN, len);
    assert!(place((PLACE_HOME, PLACE_HOME + len)).is_some());
    assert!(place((PLACE_HOME, PLACE_HOME + len + PAGE)).is_none());
    assert!(place((PLACE_HOME + PAGE, PLACE_HOME)).is_none());
    assert!(place((PLACE_HOME + 8, PLACE_HOME + 8 + len)).is_none());
}

#[test]
fn unknown_functions_are_refused() {
    let mut home = own();
    let at = home.code.windows(8).position(|bytes| bytes == b"_getcpu\0").unwrap();
    home.code[at..at + 7].copy_from_slice(b"_getgpu");
    let code = own().code;
    assert!(matches!(Trampolines::new(home, &code), Err(VdsoError::Unknown(name)) if name == "getgpu"));
}

proptest! {
    #[test]
    fn damaged_images_are_refused_or_stay_within_bounds(
        damage in prop::collection::vec((0usize..2048, any::<u8>()), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut home = own();
        for (at, byte) in damage {
            home.code[at] = byte;
        }
        let code = own().code;
        let pages = cut.index(home.code.len() / PAGE as usize + 1);
        home.code.truncate(pages * PAGE as usize);
        let len = bytes(&home);
        if let Ok(trampolines) = Trampolines::new(home, &code) {
            let place = trampolines.place((PLACE_HOME, PLACE_HOME + len), PLACE_OWN, 24 << 10);
            if let Some(place) = place {
                prop_assert_eq!(trampolines.file(place).len() as u64 % PAGE, 0);
            }
        }
    }

    #[test]
    fn noise_is_refused(code in prop::collection::vec(any::<u8>(), 4096)) {
        let own = own();
        let home = Vdso { code, ..own.clone() };
        prop_assert!(Trampolines::new(home, &own.code).is_err());
    }
}

/// A process of our own with trampolines in the place of its vDSO, ready to call a function.
struct Body {
    running: Option<crate::Stopped>,
    trampolines: Trampolines,
    place: Place,
    /// A page: results at its beginning, the stack at its end.
    page: u64,
}

/// Where the calls return to.
const NOWHERE: u64 = 0x1000;

impl Body {
    fn new() -> Body {
        let (stopped, site) = launch::in_pause();
        let pid = stopped.tid();
        let mut injector = Injector::new(stopped, site).unwrap();
        let mappings = maps::read(pid).unwrap();
        let mut taken: Vec<_> = mappings.iter().map(|mapping| (mapping.start, mapping.end)).collect();
        let base = hole(&taken, Foothold::BYTES).unwrap();
        let foothold = Foothold::install(&mut injector, base).unwrap();
        taken.push(foothold.range());
        let range = capture::vdso_range(&mappings).unwrap();
        let own_bytes = range.1 - range.0;
        let home = own();
        let trampolines = Trampolines::new(home.clone(), &home.code).unwrap();
        let at = hole(&taken, trampolines.bytes(own_bytes)).unwrap();
        let place = trampolines.place(range, at, own_bytes).unwrap();
        let parts = mappings.iter().filter(|m| capture::is_special(m) && m.start < 1 << 63);
        let parts: Vec<_> = parts.map(|mapping| (mapping.start, mapping.end)).collect();
        restore::move_vdso(&mut injector, &parts, range.0, at).unwrap();
        let file = make_file(&trampolines.file(place)).unwrap();
        let path = format!("/proc/{}/fd/{}\0", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
        memory::write_all(pid, foothold.scratch(), path.as_bytes()).unwrap();
        let open = [foothold.scratch(), libc::O_RDONLY as u64, 0, 0, 0, 0];
        let fd = injector.call("open", libc::SYS_open, open).unwrap();
        trampolines.map(&mut injector, fd as i32, place).unwrap();
        let page = foothold.scratch();
        injector.saved_mut().orig_rax = u64::MAX;
        Body { running: Some(injector.finish().unwrap()), trampolines, place, page }
    }

    fn entry(&self, name: &str) -> u64 {
        let home = &self.trampolines.home;
        let (_, at) =
            symbols::functions(&home.code).unwrap().into_iter().find(|(known, _)| known == name).unwrap();
        self.place.home.1 - home.code.len() as u64 + at
    }

    /// Steps through a call, and at each instruction checks that the thread can be taken out: before its call with all
    /// that the caller relies on, or behind it with the result.
    fn check_call(&mut self, name: &str, args: [u64; 5]) -> (i64, usize) {
        let mut thread = self.running.take().unwrap();
        let tid = thread.tid();
        let entry = self.entry(name);
        let mut first: Regs = thread.regs().unwrap();
        first.rip = entry;
        first.rsp = self.page + PAGE - 264;
        memory::write_all(tid, first.rsp, &NOWHERE.to_le_bytes()).unwrap();
        [first.rdi, first.rsi, first.rdx, first.rcx, first.r8] = args;
        [first.rbx, first.rbp, first.r12, first.r13, first.r14, first.r15] = [101, 102, 103, 104, 105, 106];
        thread.set_regs(&first).unwrap();
        let kept = |regs: &Regs| [regs.rbx, regs.rbp, regs.r12, regs.r13, regs.r14, regs.r15];
        for steps in 1.. {
            thread = thread
                .resume(Resume::Step, 0)
                .map(|running| {
                    let (_, event, _) = wait::block(tid).unwrap();
                    assert!(
                        matches!(event, Event::Stopped(Stop::Signal(libc::SIGTRAP | libc::SIGSEGV))),
                        "{event:?}"
                    );
                    running.stopped()
                })
                .unwrap();
            let regs = thread.regs().unwrap();
            let faulted = thread.siginfo().unwrap().signal() == libc::SIGSEGV;
            let lifted = self.trampolines.lift(self.place, &regs, |at| memory::read_u64(tid, at)).unwrap();
            if regs.rip == NOWHERE {
                assert_eq!(lifted, None);
                assert_eq!((kept(&regs), regs.rsp), (kept(&first), first.rsp + 8));
                self.running = Some(thread);
                return (regs.ret(), steps);
            }
            let lifted = lifted.unwrap_or(regs);
            assert_eq!(kept(&lifted), kept(&first), "at {:#x} of {name}", regs.rip);
            if lifted.rip == NOWHERE {
                assert_eq!(lifted.rsp, first.rsp + 8);
                assert!(!faulted);
            } else {
                assert_eq!((lifted.rip, lifted.rsp), (entry, first.rsp));
                assert_eq!(lifted.rdi, args[0]);
                assert_eq!(lifted.rsi, args[1]);
                assert_eq!(lifted.rdx, args[2]);
                if name == "getrandom" {
                    assert_eq!((lifted.rcx, lifted.r8), (args[3], args[4]));
                }
            }
            if faulted {
                // As after siglongjmp.
                thread.set_regs(&first).unwrap();
                self.running = Some(thread);
                return (i64::MIN, steps);
            }
        }
        unreachable!()
    }

    fn word(&self, at: u64) -> u64 {
        memory::read_u64(self.running.as_ref().unwrap().tid(), self.page + at).unwrap()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(stopped) = self.running.take() {
            let pid = stopped.tid();
            signal::kill(pid, libc::SIGKILL).unwrap();
            while !matches!(wait::block(pid), Ok((_, Event::Killed { .. }, _)) | Err(_)) {}
        }
    }
}

#[test]
fn a_thread_can_be_taken_out_at_every_instruction() {
    let mut body = Body::new();
    let page = body.page;
    let now = Machine::look();
    let (ret, steps) = body.check_call("clock_gettime", [libc::CLOCK_MONOTONIC as u64, page, 7, 0, 0]);
    assert_eq!(ret, 0);
    assert!(steps > 20, "{steps} instructions");
    let monotonic = body.word(0) as i64 * 1_000_000_000 + body.word(8) as i64;
    assert!((0..60_000_000_000).contains(&(monotonic - now.monotonic_ns)));
    // By way of a system call: no data page has it.
    assert_eq!(body.check_call("clock_gettime", [libc::CLOCK_PROCESS_CPUTIME_ID as u64, page, 0, 0, 0]).0, 0);
    assert_eq!(body.check_call("clock_gettime", [9999, page, 0, 0, 0]).0, -i64::from(libc::EINVAL));
    assert_eq!(body.check_call("clock_gettime", [libc::CLOCK_REALTIME_COARSE as u64, page, 0, 0, 0]).0, 0);
    assert_eq!(body.check_call("clock_getres", [libc::CLOCK_MONOTONIC as u64, page, 0, 0, 0]).0, 0);
    assert_eq!(body.word(8), 1);
    assert_eq!(body.check_call("gettimeofday", [page, page + 16, 0, 0, 0]).0, 0);
    let seconds = body.word(0) as i64;
    assert!((now.realtime_ns / 1_000_000_000..).contains(&seconds));
    let (time, _) = body.check_call("time", [page + 32, 0, 0, 0, 0]);
    assert_eq!(time, body.word(32) as i64);
    assert!((seconds - 1..seconds + 60).contains(&time));
    assert_eq!(body.check_call("getcpu", [page, page + 4, 0, 0, 0]).0, 0);
    assert!((body.word(0) as u32) < 1 << 16);
    // Faults, which a handler may mend and come back to, maybe elsewhere.
    for (name, args) in [
        ("clock_gettime", [libc::CLOCK_MONOTONIC as u64, 8, 0, 0, 0]),
        ("clock_getres", [libc::CLOCK_MONOTONIC as u64, 8, 0, 0, 0]),
        ("gettimeofday", [8, 0, 0, 0, 0]),
        ("gettimeofday", [page, 8, 0, 0, 0]),
        ("time", [8, 0, 0, 0, 0]),
        ("getcpu", [8, 0, 0, 0, 0]),
    ] {
        assert_eq!(body.check_call(name, args).0, i64::MIN, "{name}");
    }
}

#[test]
fn random_numbers_come_from_the_call_and_parameters_from_home() {
    let Some(parameters) = random_parameters() else { return };
    let mut body = Body::new();
    let page = body.page;
    assert_eq!(body.check_call("getrandom", [0, 0, 0, page + 64, u64::MAX]).0, 0);
    let mut got = [0; RANDOM_PARAMETERS_BYTES];
    memory::read_exact(body.running.as_ref().unwrap().tid(), page + 64, &mut got).unwrap();
    assert_eq!(got, parameters);
    assert_eq!(body.check_call("getrandom", [page, 32, 0, page + 1024, 144]).0, 32);
    assert_ne!([body.word(0), body.word(8), body.word(16), body.word(24)], [0; 4]);
    // The state is nobody's here.
    assert_eq!(body.word(1024), 0);
    assert_eq!(
        body.check_call("getrandom", [page, 32, u64::from(u32::MAX), 0, 0]).0,
        -i64::from(libc::EINVAL)
    );
}
