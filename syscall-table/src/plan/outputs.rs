//! What comes back.

use super::Out;

/// A piece of a buffer that the kernel has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Index of the buffer.
    pub buf: u16,
    /// First byte.
    pub offset: u32,
    /// Number of bytes, never 0.
    pub len: u32,
}

/// Which bytes must be copied back after a call that returned `ret`.
///
/// `bufs` are room and rule of each buffer, `after` gives its bytes as they are after the call. Every range lies within
/// its room, whatever the bytes say.
pub fn outputs<'a, 'b>(
    bufs: impl IntoIterator<Item = (u32, &'b Out)>,
    ret: i64,
    after: &dyn Fn(u16) -> &'a [u8],
) -> Vec<Range> {
    let success = !(-4095..0).contains(&ret);
    let count = if success { ret.max(0) as u64 } else { 0 };
    let mut written = Vec::new();
    for (index, (room, out)) in bufs.into_iter().enumerate() {
        let buf = index as u16;
        let mut add = |offset: u64, len: u64| {
            let len = len.min(u64::from(room).saturating_sub(offset));
            if len > 0 {
                written.push(Range { buf, offset: offset as u32, len: len as u32 });
            }
        };
        match out {
            Out::Never => {}
            Out::Always => add(0, room.into()),
            Out::Ret { before } => add(0, count.saturating_sub((*before).into())),
            Out::Positive if count == 0 => {}
            _ if !success => {}
            Out::Full | Out::Positive => add(0, room.into()),
            Out::RetPlus { extra } => add(0, count.saturating_add((*extra).into())),
            Out::RetTimes { size } => add(0, count.saturating_mul((*size).into())),
            Out::LenFrom { buf, offset, before, min_ret } => {
                let start = *offset as usize;
                let word = after(*buf).get(start..start.saturating_add(4)).and_then(|w| w.try_into().ok());
                if let Some(word) = word
                    && count >= u64::from(*min_ret)
                {
                    add(0, u32::from_le_bytes(word).saturating_sub(*before).into());
                }
            }
            Out::Ranges(ranges) => ranges.iter().for_each(|&(offset, len)| add(offset.into(), len.into())),
            Out::Fields { stride, ranges, by_ret } => {
                let elements = u64::from(room / (*stride).max(1));
                let elements = if *by_ret { elements.min(count) } else { elements };
                for element in 0..elements {
                    for &(offset, len) in ranges {
                        add(element * u64::from(*stride) + u64::from(offset), len.into());
                    }
                }
            }
        }
    }
    written
}
