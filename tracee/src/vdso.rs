//! A body whose vDSO is another kernel's.
//!
//! The code of a vDSO fits only the data pages ([vvar]) of the kernel that it comes from. A program has read from it
//! (symbols, unwind tables, notes) and keeps pointers to its functions, so in a body home's image stays where it was,
//! as a private copy in which each function begins with a jump. The node's own vDSO lies beside, with its data pages,
//! where the program has nothing. Between them is a page of stubs:
//!
//! ```text
//!   home's address     [ nothing … ][ copy of home's image: jump, dead code, … ]
//!                                          │
//!   somewhere free     [ node's [vvar] … ][ node's [vdso] ][ stubs ]
//!                                               ▲             │ saves the arguments and calls
//!                                               └─────────────┘
//! ```
//!
//! So clocks are read by the node's code from the node's data, in the body's time namespace, without a system call. What
//! a stub saves allows a thread that is inside to be put back before its call ([`Trampolines::lift`]): neither the
//! frame of a signal nor an image ever names an address that only this body has.
//!
//! Jumps straight to the node's functions would save a nanosecond, but a thread that faults in one, on a bad pointer,
//! could neither be stepped out nor put back: after a move its handler would return to nowhere.

mod frames;
mod lift;
mod symbols;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::Errno;
use crate::inject::{InjectError, Injector};
use crate::maps::Mapping;
use crate::regs::SYSCALL;
use frames::Frames;
use symbols::Known;

pub use lift::LiftError;
pub use symbols::random_parameters;

/// The most that a vDSO may have: those of Linux have 4 to 12 KiB.
pub const VDSO_BYTES_MAX: usize = 64 << 10;
/// The most that its data pages may have: today's take 24 KiB.
pub const VVAR_BYTES_MAX: u64 = 256 << 10;
/// Bytes of `struct vgetrandom_opaque_params`.
pub const RANDOM_PARAMETERS_BYTES: usize = 64;
/// The name of the file that copy and stubs are mapped from, by which an image's capture tells them from the program's
/// own memory. A body cannot make such a file itself: memfd_create(2) is its deputy's.
pub const FILE_NAME: &str = "mosix-vdso";

const PAGE: u64 = 4096;
/// Of one stub. The longest has some 140.
const STUB_BYTES: usize = 256;
const STUBS_MAX: usize = PAGE as usize / STUB_BYTES;
/// `movabs rax, imm64; jmp rax`: rax is nobody's at the entry of a function that takes no variable arguments.
const JUMP_BYTES: u64 = 12;

/// Why a vDSO cannot stand in for another.
#[derive(Debug, thiserror::Error)]
pub enum VdsoError {
    /// Not an ELF file with dynamic symbols.
    #[error("it is unreadable: {0}")]
    Unreadable(#[from] object::Error),
    /// Larger than any, or with half a page.
    #[error(
        "it has {0} bytes and {1} of data; whole pages, at most {VDSO_BYTES_MAX} and {VVAR_BYTES_MAX}, are known"
    )]
    Size(usize, u64),
    /// A function that this version has no stand-in for. Its code would read data that is not there.
    #[error("this version does not know its function {0:?}")]
    Unknown(String),
    /// No room for a jump before the next function or the end.
    #[error("its function {0:?} is too short to be replaced")]
    Crowded(String),
    /// More entries than there is room for stubs.
    #[error("it has {0} functions; the most are {STUBS_MAX}")]
    TooMany(usize),
}

/// What of a home's vDSO must be known elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vdso {
    /// Its image, whole pages.
    pub code: Vec<u8>,
    /// Bytes of data pages before it.
    pub vvar_bytes: u64,
    /// What its getrandom says of the memory that it wants for its state.
    pub random: Option<[u8; RANDOM_PARAMETERS_BYTES]>,
}

/// Where the two vDSOs are in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Home's: the range of its data pages, which are not there, and the copy of its image.
    pub home: (u64, u64),
    /// The node's data pages and image, and the page of stubs.
    pub own: (u64, u64),
}

/// How functions of a home's vDSO are answered on this machine. Made once for a session.
#[derive(Debug)]
pub struct Trampolines {
    home: Vdso,
    doors: Vec<Door>,
    frames: Frames,
    /// Bytes of this machine's [vdso].
    code_bytes: u64,
}

/// A function of home's, under whatever names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Door {
    /// Offset in home's image.
    at: u64,
    answer: Answer,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The function at this offset of this machine's vDSO.
    Function(u64),
    /// This system call: the machine has no such function.
    Call(u32),
    /// getrandom: the system call, and home's word about the state's memory.
    ///
    /// The state that libc keeps for it is opaque, and its layout and meaning are the kernel build's: read by another
    /// build's code, key stream that was used could be handed out again. So no code touches it here, which is also what
    /// the kernel's own does with a state of a size that it does not know. It is as it was when the process is home.
    Random(u32),
}

impl Trampolines {
    /// `own` is this machine's image, empty where the kernel gives none.
    pub fn new(home: Vdso, own: &[u8]) -> Result<Trampolines, VdsoError> {
        if home.code.len() > VDSO_BYTES_MAX
            || home.vvar_bytes > VVAR_BYTES_MAX
            || !(home.code.len() as u64).is_multiple_of(PAGE)
            || !home.vvar_bytes.is_multiple_of(PAGE)
        {
            return Err(VdsoError::Size(home.code.len(), home.vvar_bytes));
        }
        let (own_functions, frames) = if own.is_empty() {
            (Vec::new(), Frames::none())
        } else {
            (symbols::functions(own)?, Frames::of(own)?)
        };
        let mut doors: BTreeMap<u64, (String, Answer)> = BTreeMap::new();
        let functions = symbols::functions(&home.code)?;
        for (name, at) in &functions {
            let answer = match symbols::known(name) {
                Known::Call(nr) => {
                    let own = own_functions.iter().find(|(own, at)| own == name && frames.cover(*at));
                    own.map_or(Answer::Call(nr), |(_, at)| Answer::Function(*at))
                }
                Known::Random(nr) => Answer::Random(nr),
                // It enters enclaves, whose memory is a device's and keeps its process at home. It reads no data page.
                Known::Enclave => continue,
                Known::Nothing => return Err(VdsoError::Unknown(name.clone())),
            };
            if let Some((other, before)) = doors.insert(*at, (name.clone(), answer))
                && before != answer
            {
                return Err(VdsoError::Crowded(other));
            }
        }
        if doors.len() > STUBS_MAX {
            return Err(VdsoError::TooMany(doors.len()));
        }
        // The next function may be one that is left alone.
        let mut starts: Vec<u64> = functions.iter().map(|(_, at)| *at).collect();
        starts.push(home.code.len() as u64);
        for (at, (name, _)) in &doors {
            let next = starts.iter().copied().filter(|start| start > at).min().unwrap_or(0);
            let next = next.min(home.code.len() as u64);
            if next.saturating_sub(*at) < JUMP_BYTES {
                return Err(VdsoError::Crowded(name.clone()));
            }
        }
        let doors = doors.into_iter().map(|(at, (_, answer))| Door { at, answer }).collect();
        Ok(Trampolines { home, doors, frames, code_bytes: own.len() as u64 })
    }

    /// Bytes of address space that they take in a body beside home's range, if this machine's own [vvar] … [vdso] have
    /// `own_bytes`.
    pub fn bytes(&self, own_bytes: u64) -> u64 {
        own_bytes + PAGE
    }

    /// Where they are in a body, if home's [vvar] … [vdso] are at `home` in the image and this machine's `own_bytes` of
    /// them at `at`. `None` if home's are not as its kernel made them: the program has taken them apart.
    pub fn place(&self, home: (u64, u64), at: u64, own_bytes: u64) -> Option<Place> {
        let bytes = self.home.vvar_bytes + self.home.code.len() as u64;
        let whole = home.1.checked_sub(home.0) == Some(bytes) && home.0.is_multiple_of(PAGE);
        (whole && own_bytes >= self.code_bytes).then(|| Place { home, own: (at, at + self.bytes(own_bytes)) })
    }

    /// The file that [`Trampolines::map`] maps: the copy of home's image, then the stubs.
    pub fn file(&self, place: Place) -> Vec<u8> {
        let mut file = self.home.code.clone();
        for (i, door) in self.doors.iter().enumerate() {
            let mut jump = vec![0x48, 0xb8]; // movabs rax, imm64
            jump.extend_from_slice(&(place.stubs() + (i * STUB_BYTES) as u64).to_le_bytes());
            jump.extend_from_slice(&[0xff, 0xe0]); // jmp rax
            file[door.at as usize..][..jump.len()].copy_from_slice(&jump);
        }
        for door in &self.doors {
            let mut stub = self.stub(door, place).code;
            // Nothing comes here.
            stub.resize(STUB_BYTES, 0xcc);
            file.extend_from_slice(&stub);
        }
        let stubs = self.home.code.len() + PAGE as usize;
        file.resize(stubs, 0xcc);
        file
    }

    /// Maps the file, `fd` in the thread's process, where nothing is any more. Home's data pages are kept free by a
    /// mapping that nobody can read: at home nothing else could be placed there either.
    pub fn map(&self, injector: &mut Injector, fd: i32, place: Place) -> Result<(), InjectError> {
        let flags = (libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE) as u64;
        let executable = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let code = self.home.code.len() as u64;
        for (start, bytes, protection, offset) in [
            (place.home.0, self.home.vvar_bytes, libc::PROT_NONE as u64, 0),
            (place.home.1 - code, code, executable, 0),
            (place.stubs(), PAGE, executable, code),
        ] {
            if bytes != 0 {
                injector.call(
                    "mmap",
                    libc::SYS_mmap,
                    [start, bytes, protection, flags, fd as u64, offset],
                )?;
            }
        }
        Ok(())
    }

    fn stub(&self, door: &Door, place: Place) -> Stub {
        match door.answer {
            Answer::Function(at) => Stub::function(place.own_code(self.code_bytes) + at),
            Answer::Call(nr) => Stub::call(nr),
            Answer::Random(nr) => Stub::random(nr, self.home.random.as_ref()),
        }
    }
}

impl Place {
    /// The page of stubs.
    fn stubs(&self) -> u64 {
        self.own.1 - PAGE
    }

    fn own_code(&self, code_bytes: u64) -> u64 {
        self.stubs() - code_bytes
    }
}

/// Whether a mapping of a body is one that [`Trampolines::map`] made.
pub fn is_ours(mapping: &Mapping) -> bool {
    mapping.path.strip_prefix(b"/memfd:").and_then(|path| path.strip_suffix(b" (deleted)"))
        == Some(FILE_NAME.as_bytes())
}

/// The code between a jump and its answer, and what of it [`Trampolines::lift`] must know.
#[derive(Clone, Debug, Default)]
struct Stub {
    code: Vec<u8>,
    /// Offset from which on the result is there.
    done: u64,
    /// Offset from which on r10 has what was in rcx.
    fourth_kept: u64,
    /// Pushes at the beginning, one byte each.
    pushes: u64,
}

impl Stub {
    /// Calls a function with its arguments on the stack below the return address, which is a place that a debugger's
    /// unwind tables of this machine's vDSO lead to. None of the functions takes more than three.
    fn function(address: u64) -> Stub {
        let mut code = vec![0x57, 0x56, 0x52]; // push rdi; push rsi; push rdx: now the stack is aligned
        code.extend_from_slice(&[0x48, 0xb8]); // movabs rax, imm64
        code.extend_from_slice(&address.to_le_bytes());
        code.extend_from_slice(&[0xff, 0xd0]); // call rax
        let done = code.len() as u64;
        code.extend_from_slice(&[0x48, 0x83, 0xc4, 0x18]); // add rsp, 24
        code.push(0xc3); // ret
        Stub { code, done, fourth_kept: u64::MAX, pushes: 3 }
    }

    /// Makes a system call: as any other of the body's it runs there or is forwarded.
    fn call(nr: u32) -> Stub {
        let mut stub = Stub { fourth_kept: u64::MAX, ..Stub::default() };
        stub.append_call(nr);
        stub
    }

    fn append_call(&mut self, nr: u32) {
        self.code.push(0xb8); // mov eax, imm32
        self.code.extend_from_slice(&nr.to_le_bytes());
        self.code.extend_from_slice(&SYSCALL);
        self.done = self.code.len() as u64;
        self.code.push(0xc3); // ret
    }

    /// getrandom(buffer, len, flags, state, state_len): a question about the state's memory has no buffer and a
    /// length of ~0 (lib/vdso/getrandom.c in the kernel), and is answered with home's words.
    fn random(nr: u32, parameters: Option<&[u8; RANDOM_PARAMETERS_BYTES]>) -> Stub {
        let mut answer = Vec::new();
        for (i, word) in parameters.into_iter().flat_map(|bytes| bytes.chunks_exact(8)).enumerate() {
            answer.extend_from_slice(&[0x48, 0xb8]); // movabs rax, imm64
            answer.extend_from_slice(word);
            answer.extend_from_slice(&[0x48, 0x89, 0x41, (i * 8) as u8]); // mov [rcx + 8 i], rax
        }
        answer.extend_from_slice(&[0x31, 0xc0, 0xc3]); // xor eax, eax; ret
        let mut stub = Stub::default();
        if parameters.is_some() {
            let tests: [&[u8]; 4] = [
                &[0x49, 0x83, 0xf8, 0xff], // cmp r8, -1
                &[0x48, 0x85, 0xff],       // test rdi, rdi
                &[0x48, 0x85, 0xf6],       // test rsi, rsi
                &[0x85, 0xd2],             // test edx, edx
            ];
            const JNE_BYTES: usize = 6;
            let mut left: usize = tests.iter().map(|test| test.len() + JNE_BYTES).sum();
            for test in tests {
                left -= test.len() + JNE_BYTES;
                stub.code.extend_from_slice(test);
                stub.code.extend_from_slice(&[0x0f, 0x85]); // jne behind the answer
                stub.code.extend_from_slice(&((left + answer.len()) as u32).to_le_bytes());
            }
            stub.code.extend_from_slice(&answer);
        }
        // The call overwrites rcx and leaves r10, its fourth argument, alone. It has three.
        stub.code.extend_from_slice(&[0x49, 0x89, 0xca]); // mov r10, rcx
        stub.fourth_kept = stub.code.len() as u64;
        stub.append_call(nr);
        stub
    }
}

/// Makes [`FILE_NAME`] with what [`Trampolines::file`] gave.
pub fn make_file(bytes: &[u8]) -> Result<std::os::fd::OwnedFd, Errno> {
    use std::io::Write;
    let fd = rustix::fs::memfd_create(FILE_NAME, rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| Errno(error.raw_os_error()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(file.into())
}
