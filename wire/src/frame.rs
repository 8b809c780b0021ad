//! Whole frames on a byte stream: a u32 length, little-endian, then that many bytes. A stream's opener first
//! says the channel number as a LEB128 varint.

use bytes::{Buf, Bytes};

/// Largest frame: 16 MiB of pages and 64 KiB for what describes them. Moves are cut into far smaller frames;
/// the cap only bounds what a hostile peer can make us hold.
pub const MAX_FRAME_BYTES: usize = (16 << 20) + (64 << 10);

/// Length prefix of a frame.
pub const HEADER_BYTES: usize = 4;

/// Longest varint of a u64: ⌈64 / 7⌉.
const MAX_VARINT_BYTES: usize = 10;

/// Memory set aside for a frame before any of its bytes are here; beyond it, memory follows received bytes.
const FIRST_RESERVE_BYTES: usize = 1 << 20;

/// The peer does not follow the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length prefix above [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes was announced; the most is {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// A channel number that is no LEB128 u64.
    #[error("a stream does not begin with a channel number")]
    BadChannel,
    /// A stream that ends inside a frame.
    #[error("a stream ends within a frame")]
    Truncated,
}

/// The length prefix of a frame of `len` bytes, which the caller has checked against [`MAX_FRAME_BYTES`].
pub(crate) fn header(len: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(len <= MAX_FRAME_BYTES);
    (len as u32).to_le_bytes()
}

/// Appends `value` as a LEB128 varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads the channel number at a stream's start, byte by byte as it arrives.
#[derive(Debug, Default)]
pub(crate) struct VarintReader {
    value: u64,
    bytes: usize,
}

impl VarintReader {
    /// Takes what it needs off the front of `input`; the number when it is complete.
    pub(crate) fn push(&mut self, input: &mut Bytes) -> Result<Option<u64>, FrameError> {
        while !input.is_empty() {
            let byte = input.get_u8();
            if self.bytes == MAX_VARINT_BYTES - 1 && byte > 1 {
                return Err(FrameError::BadChannel);
            }
            self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
            self.bytes += 1;
            if byte < 0x80 {
                return Ok(Some(self.value));
            }
        }
        Ok(None)
    }
}

/// Cuts a byte stream into frames. A frame that lies whole in one chunk is handed out without copying.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body: Vec<u8>,
    body_bytes: usize,
}

impl FrameReader {
    /// Takes one chunk, and calls `deliver` for each frame it completes.
    pub(crate) fn push(
        &mut self,
        mut chunk: Bytes,
        mut deliver: impl FnMut(Bytes),
    ) -> Result<(), FrameError> {
        loop {
            if self.header_filled < HEADER_BYTES {
                let n = chunk.len().min(HEADER_BYTES - self.header_filled);
                chunk.copy_to_slice(&mut self.header[self.header_filled..self.header_filled + n]);
                self.header_filled += n;
                if self.header_filled < HEADER_BYTES {
                    return Ok(());
                }
                self.body_bytes = u32::from_le_bytes(self.header) as usize;
                if self.body_bytes > MAX_FRAME_BYTES {
                    return Err(FrameError::TooLong(self.body_bytes));
                }
            }
            if self.body.is_empty() && chunk.len() >= self.body_bytes {
                deliver(chunk.split_to(self.body_bytes));
                self.header_filled = 0;
            } else {
                if chunk.is_empty() {
                    return Ok(());
                }
                self.reserve();
                let n = chunk.len().min(self.body_bytes - self.body.len());
                self.body.extend_from_slice(&chunk[..n]);
                chunk.advance(n);
                if self.body.len() == self.body_bytes {
                    deliver(Bytes::from(std::mem::take(&mut self.body)));
                    self.header_filled = 0;
                }
            }
        }
    }

    /// All of a modest frame at once; the rest of a large one only when 1 MiB of it has come.
    fn reserve(&mut self) {
        let target = match self.body.len() {
            0..FIRST_RESERVE_BYTES => self.body_bytes.min(FIRST_RESERVE_BYTES),
            _ => self.body_bytes,
        };
        self.body.reserve_exact(target - self.body.len());
    }

    /// Whether the stream may end here.
    pub(crate) fn at_boundary(&self) -> bool {
        self.header_filled == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1usize..200, 1..50),
            channel in any::<u64>(),
        ) {
            let mut stream = Vec::new();
            put_varint(&mut stream, channel);
            for frame in &frames {
                stream.extend_from_slice(&header(frame.len()));
                stream.extend_from_slice(frame);
            }
            let mut rest = Bytes::from(stream);
            let (mut varint, mut number) = (VarintReader::default(), None);
            let (mut reader, mut got) = (FrameReader::default(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let mut chunk = rest.split_to((*cut).min(rest.len()));
                if number.is_none() {
                    number = varint.push(&mut chunk).unwrap();
                }
                if number.is_some() {
                    reader.push(chunk, |frame| got.push(frame.to_vec())).unwrap();
                }
            }
            prop_assert_eq!(number, Some(channel));
            prop_assert_eq!(got, frames);
            prop_assert!(reader.at_boundary());
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut input = Bytes::from(bytes);
            if let Ok(Some(_)) = VarintReader::default().push(&mut input) {
                let _ = FrameReader::default().push(input, |_| ());
            }
        }
    }

    #[test]
    fn a_frame_above_the_cap_is_refused_before_memory_is_set_aside() {
        let mut reader = FrameReader::default();
        let announced = (MAX_FRAME_BYTES as u32 + 1).to_le_bytes();
        let result = reader.push(Bytes::copy_from_slice(&announced), |_| ());
        assert_eq!(result, Err(FrameError::TooLong(MAX_FRAME_BYTES + 1)));
        assert_eq!(reader.body.capacity(), 0);
    }

    #[test]
    fn a_large_frame_holds_memory_only_as_it_arrives() {
        let mut reader = FrameReader::default();
        reader.push(Bytes::copy_from_slice(&header(MAX_FRAME_BYTES)), |_| ()).unwrap();
        reader.push(Bytes::from_static(b"x"), |_| ()).unwrap();
        assert!(reader.body.capacity() <= 2 * FIRST_RESERVE_BYTES);
    }
}
