//! Prints `docs/SYSCALLS.md`.

fn main() {
    print!("{}", syscall_table::docs::markdown());
}
