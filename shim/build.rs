//! Compiles blob/shim.rs with the running toolchain, takes its `.text` and the offsets of its entry points, and
//! refuses code that is not relocatable.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use object::{Object, ObjectSection, ObjectSymbol};

fn main() {
    println!("cargo:rerun-if-changed=blob/shim.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = out.join("shim.o");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--crate-name=shim_blob", "--emit=obj"])
        .args(["-Copt-level=2", "-Cpanic=abort", "-Crelocation-model=pic", "-Ccodegen-units=1"])
        .arg(format!("--target={}", env::var("TARGET").expect("cargo sets TARGET")))
        .arg("-o")
        .arg(&object)
        .arg("blob/shim.rs")
        .status()
        .expect("rustc runs");
    assert!(status.success(), "the shim did not compile");
    extract(&object, &out);
}

fn extract(object: &Path, out: &Path) {
    let bytes = fs::read(object).expect("the object file is there");
    let file = object::File::parse(&*bytes).expect("rustc writes an ELF object");
    let (index, text) = file
        .sections()
        .find(|section| section.name() == Ok(".text"))
        .map(|section| (section.index(), section))
        .expect("the shim has code");
    assert_eq!(text.relocations().count(), 0, "the shim must not need relocation");
    let code = text.data().expect("the code is in the file");
    let offset = |name: &str| {
        file.symbols()
            .find(|symbol| symbol.name() == Ok(name) && symbol.section_index() == Some(index))
            .unwrap_or_else(|| panic!("the shim has no {name}"))
            .address()
    };
    let end = offset("shim_end") as usize;
    let start = offset("shim_site");
    fs::write(out.join("shim.bin"), &code[start as usize..end]).expect("OUT_DIR is writable");
    let mut consts = String::new();
    for (name, doc) in [
        ("shim_site", "A `syscall; int3` for injected calls."),
        ("shim_loop", "Where a deputy's thread starts."),
        ("shim_call", "The `syscall` instruction that makes the posted call."),
        ("shim_made", "The instruction after it."),
        ("shim_done", "Where the result is stored and the slot says so."),
        ("shim_trap", "The `int3` that reports a finished call to a supervisor that sleeps."),
    ] {
        let upper = name.trim_start_matches("shim_").to_uppercase();
        consts.push_str(&format!("/// {doc}\npub const {upper}: u64 = {};\n", offset(name) - start));
    }
    fs::write(out.join("offsets.rs"), consts).expect("OUT_DIR is writable");
}
