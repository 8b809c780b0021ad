//! The compatibility page, made from the table.

use std::fmt::Write;

use crate::kinds::*;
use crate::lookup::all;
use crate::types::*;

/// The whole of `docs/SYSCALLS.md`.
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    let count = |wanted: fn(&Place) -> bool| all().iter().filter(|call| wanted(&call.place)).count();
    let rows = [
        ("local", count(|p| matches!(p, Place::Local)), "the body's own kernel, at full speed"),
        (
            "local if …",
            count(|p| matches!(p, Place::LocalIf { .. })),
            "local for the usual arguments, else as said",
        ),
        ("home's deputy", count(|p| matches!(p, Place::Forward)), "forwarded: the deputy makes the call"),
        (
            "deputy if …",
            count(|p| matches!(p, Place::ForwardIf { .. })),
            "forwarded for the usual arguments, else as said",
        ),
        (
            "both",
            count(|p| matches!(p, Place::Special)),
            "work at both ends: fork, exec, exit, file mappings",
        ),
        (
            "go home",
            count(|p| matches!(p, Place::Home)),
            "the process comes home, makes the call there, and stays while it must",
        ),
    ];
    page.push_str("| runs | calls | meaning |\n| --- | ---: | --- |\n");
    for (place, calls, meaning) in rows {
        let _ = writeln!(page, "| {place} | {calls} | {meaning} |");
    }
    page.push_str("\n## Calls\n\n| nr | call | runs | why |\n| ---: | --- | --- | --- |\n");
    for call in all() {
        let _ =
            writeln!(page, "| {} | `{}` | {} | {} |", call.nr, signature(call), place(call.place), call.note);
    }
    page.push_str("\n## Multiplexed calls\n\nOperations that are not listed go home");
    page.push_str(", except socket options: those are flat values.\n");
    for call in all() {
        let Some(table) = call.args.iter().find_map(|arg| match arg.kind {
            Kind::Sub(table) => Some(table),
            _ => None,
        }) else {
            continue;
        };
        let _ = writeln!(page, "\n### {}\n\n| operation | runs | why |\n| --- | --- | --- |", call.name);
        for op in table.ops {
            let _ = writeln!(page, "| `{}` | {} | {} |", op.name, whereabouts(op.place), op.note);
        }
    }
    page
}

const INTRODUCTION: &str = "\
<!-- Generated from syscall-table/src/table.rs: cargo run -p syscall-table --example syscalls-md > docs/SYSCALLS.md -->

# System calls

Where each system call of x86-64 Linux (6.18) runs while a program's computation is on another machine. A program whose
computation is at home runs every call natively; nothing is intercepted there. Numbers that are not listed go home.

";

fn signature(call: &Call) -> String {
    let args: Vec<&str> = call.args.iter().map(|arg| arg.name).collect();
    format!("{}({})", call.name, args.join(", "))
}

fn place(place: Place) -> String {
    match place {
        Place::Local => "local".into(),
        Place::Forward => "deputy".into(),
        Place::Special => "both".into(),
        Place::Home => "go home".into(),
        Place::LocalIf { otherwise, .. } => format!("local, or {}", whereabouts(otherwise.into())),
        Place::ForwardIf { otherwise, .. } => format!("deputy, or {}", whereabouts(otherwise.into())),
    }
}

fn whereabouts(place: Where) -> &'static str {
    match place {
        Where::Local => "local",
        Where::Forward => "deputy",
        Where::Special => "both",
        Where::Home => "go home",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SYSCALLS.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == super::markdown(),
            "docs/SYSCALLS.md is stale; run: cargo run -p syscall-table --example syscalls-md > docs/SYSCALLS.md"
        );
    }
}
