//! The functions of a vDSO: which there are, and what they stand for.

use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{LittleEndian, Object, ObjectSymbol, SymbolKind};

use super::{RANDOM_PARAMETERS_BYTES, VdsoError};
use crate::{maps, memory};

pub(super) type Elf<'data> = ElfFile<'data, FileHeader64<LittleEndian>>;

/// What is known of a function by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A system call that can be answered from data pages. Its arguments are the function's.
    Call(u32),
    /// getrandom, with a state.
    Random(u32),
    /// sgx_enter_enclave.
    Enclave,
    /// Nothing.
    Nothing,
}

/// What a name without `__vdso_` stands for. The numbers are those of arch/x86/entry/syscalls/syscall_64.tbl.
pub(super) fn known(name: &str) -> Known {
    match name {
        "clock_gettime" => Known::Call(228),
        "gettimeofday" => Known::Call(96),
        "time" => Known::Call(201),
        "clock_getres" => Known::Call(229),
        "getcpu" => Known::Call(309),
        "getrandom" => Known::Random(318),
        "sgx_enter_enclave" => Known::Enclave,
        _ => Known::Nothing,
    }
}

/// Names, without `__vdso_`, and offsets of the functions that a vDSO exports. A function of two names is there twice.
pub(super) fn functions(code: &[u8]) -> Result<Vec<(String, u64)>, VdsoError> {
    let elf = Elf::parse(code)?;
    let mut functions = Vec::new();
    for symbol in elf.dynamic_symbols() {
        if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
            continue;
        }
        let name = symbol.name()?;
        functions.push((name.strip_prefix("__vdso_").unwrap_or(name).to_owned(), symbol.address()));
    }
    Ok(functions)
}

/// What the getrandom of this machine's vDSO says of the memory that it wants for its state (`struct
/// vgetrandom_opaque_params`), if it has one.
pub fn random_parameters() -> Option<[u8; RANDOM_PARAMETERS_BYTES]> {
    type Function = unsafe extern "C" fn(*mut u8, usize, u32, *mut u8, usize) -> isize;
    let own = std::process::id() as i32;
    let mapping = maps::read(own).ok()?.into_iter().find(|mapping| mapping.path == b"[vdso]")?;
    let mut code = vec![0; mapping.len() as usize];
    memory::read_exact(own, mapping.start, &mut code).ok()?;
    let (_, at) = functions(&code).ok()?.into_iter().find(|(name, _)| name == "getrandom")?;
    let mut parameters = [0; RANDOM_PARAMETERS_BYTES];
    // SAFETY: the address is that of this process's own vDSO's getrandom, which has had this signature since it exists;
    // with no buffer and a length of ~0 it writes the parameters, which have room, and nothing else.
    let got = unsafe {
        let function = std::mem::transmute::<usize, Function>((mapping.start + at) as usize);
        function(std::ptr::null_mut(), 0, 0, parameters.as_mut_ptr(), usize::MAX)
    };
    (got == 0).then_some(parameters)
}
