//! Between the table's plan of a call and its message.

use serde_bytes::ByteBuf;
use syscall_table as table;
use tracee::{Tid, memory};
use wire::session::{At, Buf, Out, Patch};

/// A guest's memory for the planner.
pub(crate) struct Guest(pub(crate) Tid);

impl table::GuestRead for Guest {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> usize {
        memory::read(self.0, address, buffer)
    }
}

pub(crate) fn bufs(bufs: &[table::Buf]) -> Vec<Buf> {
    bufs.iter()
        .map(|buf| Buf { data: ByteBuf::from(buf.data.clone()), room: buf.room, out: out(&buf.out) })
        .collect()
}

fn out(out: &table::Out) -> Out {
    match out {
        table::Out::Never => Out::Never,
        table::Out::Full => Out::Full,
        table::Out::Always => Out::Always,
        table::Out::Ret { before } => Out::Ret { before: *before },
        table::Out::RetTimes { size } => Out::RetTimes { size: *size },
        table::Out::LenFrom { buf, offset } => Out::LenFrom { buf: *buf, offset: *offset },
        table::Out::Ranges(ranges) => Out::Ranges(ranges.clone()),
    }
}

pub(crate) fn patches(patches: &[table::Patch]) -> Vec<Patch> {
    patches
        .iter()
        .map(|patch| Patch {
            at: match patch.at {
                table::At::Arg(arg) => At::Arg(arg),
                table::At::Buf { buf, offset } => At::Buf { buf, offset },
            },
            target: patch.target,
        })
        .collect()
}
