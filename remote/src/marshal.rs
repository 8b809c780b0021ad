//! Between the table's plan of a call and its message.

use serde_bytes::ByteBuf;
use syscall_table as table;
use tracee::{Tid, memory};
use wire::session::Buf;

/// A guest's memory for the planner.
pub(crate) struct Guest(pub(crate) Tid);

impl table::GuestRead for Guest {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> usize {
        memory::read(self.0, address, buffer)
    }

    fn stack_pointer(&mut self) -> Option<u64> {
        memory::stack_pointer(self.0)
    }
}

/// What travels of the buffers: all but their addresses.
pub(crate) fn bufs(bufs: &[table::Buf]) -> Vec<Buf> {
    bufs.iter()
        .map(|buf| Buf {
            data: ByteBuf::from(buf.data.clone()),
            room: buf.room,
            page_offset: (buf.addr & 4095) as u16,
            out: buf.out.clone(),
        })
        .collect()
}
