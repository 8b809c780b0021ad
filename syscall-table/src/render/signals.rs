//! Signals: their numbers, sets, actions and details.

use std::fmt::Write;

use super::shapes::{i32_at, i64_at, pointer, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, name, signal, sigset};
use crate::flags::{self, FlagSet};

/// A signal's details as strace shows a delivery: what stands between `--- SIGCHLD ` and ` ---`.
pub fn siginfo_text(info: &[u8; 128]) -> String {
    siginfo(info)
}

pub(super) fn sigaction(b: &[u8]) -> String {
    let (handler, bits, restorer) = (u64_at(b, 0), u64_at(b, 8), u64_at(b, 16));
    let handler = match handler {
        0 => "SIG_DFL".into(),
        1 => "SIG_IGN".into(),
        u64::MAX => "SIG_ERR".into(),
        other => hex(other),
    };
    let restorer =
        if bits & 0x400_0000 != 0 { format!(", sa_restorer={}", pointer(restorer)) } else { String::new() };
    format!(
        "{{sa_handler={handler}, sa_mask={}, sa_flags={}{restorer}}}",
        sigset(u64_at(b, 24)),
        named(bits, &flags::SA)
    )
}

/// A `stack_t`.
pub(super) fn stack(b: &[u8]) -> String {
    format!(
        "{{ss_sp={}, ss_flags={}, ss_size={}}}",
        pointer(u64_at(b, 0)),
        named(u32_at(b, 8).into(), &flags::SS),
        u64_at(b, 16)
    )
}

/// A `struct sigevent`.
pub(super) fn sigevent(b: &[u8]) -> String {
    let notify = u32_at(b, 12);
    let mut text = String::from("{");
    if u64_at(b, 0) != 0 {
        let _ = write!(text, "sigev_value={}, ", value(b, 0));
    }
    let number = u32_at(b, 8);
    let number = match notify {
        0 | 2 | 4 => signal(number.into()),
        _ => number.to_string(),
    };
    let _ = write!(text, "sigev_signo={number}, sigev_notify={}", name(notify.into(), &flags::SIGEV));
    match notify {
        4 => {
            let _ = write!(text, ", sigev_notify_thread_id={}", i32_at(b, 16));
        }
        2 => {
            let _ = write!(
                text,
                ", sigev_notify_function={}, sigev_notify_attributes={}",
                pointer(u64_at(b, 16)),
                pointer(u64_at(b, 24))
            );
        }
        _ => {}
    }
    text.push('}');
    text
}

/// A `union sigval`.
fn value(b: &[u8], at: usize) -> String {
    format!("{{sival_int={}, sival_ptr={}}}", i32_at(b, at), pointer(u64_at(b, at)))
}

/// The codes that only one signal has.
fn own_codes(number: u32) -> Option<&'static FlagSet> {
    Some(match number {
        4 => &flags::ILL_CODE,
        5 => &flags::TRAP_CODE,
        7 => &flags::BUS_CODE,
        8 => &flags::FPE_CODE,
        11 => &flags::SEGV_CODE,
        17 => &flags::CLD_CODE,
        29 => &flags::POLL_CODE,
        31 => &flags::SYS_CODE,
        _ => return None,
    })
}

/// A `siginfo_t`, see sigaction(2): which of its fields count depends on the code, then on the signal.
pub(super) fn siginfo(b: &[u8]) -> String {
    let (number, error, code) = (u32_at(b, 0), i32_at(b, 4), i32_at(b, 8));
    if number == 0 {
        return "{}".into();
    }
    let code_set =
        own_codes(number).filter(|set| set.bits.iter().any(|(value, _)| *value == u64::from(code as u32)));
    let code_names = code_set.unwrap_or(&flags::SI_CODE);
    let code_name = code_names.bits.iter().find(|(value, _)| *value == u64::from(code as u32));
    let code_name = code_name.map_or_else(|| hex(u64::from(code as u32)), |(_, name)| (*name).to_owned());
    let mut text = format!("{{si_signo={}, si_code={code_name}", signal(number.into()));
    if error != 0 {
        match super::errno(error) {
            Some((name, _)) => write!(text, ", si_errno={name}"),
            None => write!(text, ", si_errno={}", error as u32),
        }
        .unwrap_or_default();
    }
    let sender = || format!(", si_pid={}, si_uid={}", i32_at(b, 16), u32_at(b, 20));
    let address = || format!(", si_addr={}", pointer(u64_at(b, 16)));
    let with_value = || {
        if u64_at(b, 24) == 0 {
            String::new()
        } else {
            format!(", si_int={}, si_ptr={}", i32_at(b, 24), pointer(u64_at(b, 24)))
        }
    };
    match (number, code) {
        // SI_USER, SI_TKILL
        (_, 0 | -6) => text.push_str(&sender()),
        // SI_TIMER
        (_, -2) => {
            let timer = hex(u32_at(b, 16).into());
            let _ = write!(text, ", si_timerid={timer}, si_overrun={}{}", i32_at(b, 20), with_value());
        }
        // SI_SIGIO, and what has a code of its own
        (_, -5) | (29, 1..=6) => {
            let _ = write!(text, ", si_band={}, si_fd={}", i64_at(b, 16), i32_at(b, 24));
        }
        (_, ..0) => text.push_str(&(sender() + &with_value())),
        (17, _) => {
            let status = u32_at(b, 24);
            let status = if code == 1 { status.to_string() } else { signal(status.into()) };
            let _ = write!(
                text,
                "{}, si_status={status}, si_utime={}, si_stime={}",
                sender(),
                ticks(i64_at(b, 32)),
                ticks(i64_at(b, 40))
            );
        }
        (4 | 5 | 8, _) => text.push_str(&address()),
        (7, _) => {
            text.push_str(&address());
            if matches!(code, 4 | 5) {
                let _ = write!(text, ", si_addr_lsb={}", hex(u16_at(b, 24).into()));
            }
        }
        (11, _) => {
            text.push_str(&address());
            let _ = match code {
                3 => {
                    write!(text, ", si_lower={}, si_upper={}", pointer(u64_at(b, 32)), pointer(u64_at(b, 40)))
                }
                4 => write!(text, ", si_pkey={}", u32_at(b, 32)),
                _ => Ok(()),
            };
        }
        (29, _) => {}
        (31, _) => {
            let called = crate::lookup::by_number(u32_at(b, 24));
            let called =
                called.map_or_else(|| i32_at(b, 24).to_string(), |call| format!("__NR_{}", call.name));
            let _ = write!(
                text,
                ", si_call_addr={}, si_syscall={called}, si_arch={}",
                pointer(u64_at(b, 16)),
                name(u32_at(b, 28).into(), &flags::AUDIT_ARCH)
            );
        }
        _ => {
            if u64_at(b, 16) != 0 {
                text.push_str(&sender());
            }
            text.push_str(&with_value());
        }
    }
    text.push('}');
    text
}

/// A time in ticks of which there are a hundred in a second (USER_HZ).
fn ticks(ticks: i64) -> String {
    if ticks == 0 { "0".into() } else { format!("{ticks} /* {}.{:02} s */", ticks / 100, ticks % 100) }
}
