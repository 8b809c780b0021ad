//! System V IPC and POSIX message queues.

use std::fmt::Write;

use super::Printer;
use super::shapes::{i32_at, i64_at, pointer, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, octal, quoted};
use crate::flags::{self, FlagSet};
use crate::kinds::Shape;

/// `IPC_CREAT|0600`: the mode always comes last.
pub(super) fn get_flags(value: u64, set: &FlagSet) -> String {
    let mode = octal(value as u32 & 0o777);
    let bits = value & 0xffff_ffff & !0o777;
    if bits == 0 {
        return mode;
    }
    // The logarithm of a huge page's size is in the uppermost bits.
    let huge = if std::ptr::eq(set, &flags::SHM_GET) { bits >> 26 } else { 0 };
    let bits = named(bits & !(huge << 26), set);
    if huge == 0 { format!("{bits}|{mode}") } else { format!("{bits}|{huge}<<SHM_HUGE_SHIFT|{mode}") }
}

/// `{sem_num=0, sem_op=-1, sem_flg=SEM_UNDO}`
pub(super) fn sembuf(b: &[u8]) -> String {
    format!(
        "{{sem_num={}, sem_op={}, sem_flg={}}}",
        u16_at(b, 0),
        u16_at(b, 2) as i16,
        named(u16_at(b, 4).into(), &flags::SEM_FLG)
    )
}

/// The permissions at the start of each of the three structures; what IPC_SET cannot set is left out there.
fn permissions(b: &[u8], set: bool) -> String {
    let mut text = format!("{{uid={}, gid={}, mode={}", u32_at(b, 4), u32_at(b, 8), octal(u32_at(b, 20)));
    if !set {
        let _ = write!(text, ", key={}, cuid={}, cgid={}", i32_at(b, 0), u32_at(b, 12), u32_at(b, 16));
    }
    text.push('}');
    text
}

/// `struct semid64_ds`, `struct msqid64_ds` or `struct shmid64_ds`.
pub(super) fn object(b: &[u8], shape: Shape, set: bool) -> String {
    let perm = permissions(b, set);
    let long = |at: usize| u64_at(b, at);
    match (shape, set) {
        (Shape::SemidDs, true) => format!("{{sem_perm={perm}}}"),
        (Shape::SemidDs, false) => {
            format!(
                "{{sem_perm={perm}, sem_otime={}, sem_ctime={}, sem_nsems={}}}",
                long(48),
                long(64),
                long(80)
            )
        }
        (Shape::MsqidDs, true) => format!("{{msg_perm={perm}, msg_qbytes={}}}", long(88)),
        (Shape::MsqidDs, false) => format!(
            "{{msg_perm={perm}, msg_stime={}, msg_rtime={}, msg_ctime={}, msg_qnum={}, msg_qbytes={}, \
             msg_lspid={}, msg_lrpid={}}}",
            long(48),
            long(56),
            long(64),
            long(80),
            long(88),
            i32_at(b, 96),
            i32_at(b, 100)
        ),
        (_, true) => format!("{{shm_perm={perm}}}"),
        (_, false) => format!(
            "{{shm_perm={perm}, shm_segsz={}, shm_cpid={}, shm_lpid={}, shm_nattch={}, shm_atime={}, shm_dtime={}, \
             shm_ctime={}}}",
            long(48),
            i32_at(b, 80),
            i32_at(b, 84),
            long(88),
            long(56),
            long(64),
            long(72)
        ),
    }
}

/// `struct mq_attr`
pub(super) fn queue_attributes(b: &[u8], named_flags: bool) -> String {
    format!(
        "{{mq_flags={}, mq_maxmsg={}, mq_msgsize={}, mq_curmsgs={}}}",
        if named_flags { named(u64_at(b, 0), &flags::OPEN_BITS) } else { hex(u64_at(b, 0)) },
        i64_at(b, 8),
        i64_at(b, 16),
        i64_at(b, 24)
    )
}

impl Printer<'_> {
    /// The text of msgsnd(2) after its type.
    pub(super) fn ipc_message(&mut self, addr: u64, size: u64) {
        let size = match self.ret {
            Some(_) if self.name() == "msgrcv" && self.failed() => return self.address(addr),
            Some(ret) if self.name() == "msgrcv" => ret.max(0) as u64,
            _ => size,
        };
        let Some(kind) = self.word64(addr) else { return self.address(addr) };
        let want = (size as usize).min(self.style.string_bytes + 1);
        let text = match self.fetch(addr.wrapping_add(8), want) {
            Some(data) => quoted(&data, self.style.string_bytes),
            None => pointer(addr.wrapping_add(8)),
        };
        let _ = write!(self.out, "{{mtype={kind}, mtext={text}}}");
    }
}
