//! What a home and a node say to each other, and its encoding: postcard, one value per frame.

use serde::{Deserialize, Serialize};

use crate::frame::MAX_FRAME_BYTES;

/// Version of the messages. Both sides must have the same: there is no negotiation, a mixed cluster is told
/// which node to upgrade.
pub const VERSION: u32 = 4;

/// The first message of each side on [`Channel::CONTROL`](crate::Channel::CONTROL): all that decides whether
/// a process of one can run on the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender. Stays the first field in every version.
    pub version: u32,
    /// The sender's node or user name, for messages; authority comes from the certificate alone.
    pub name: String,
    /// `/proc/sys/kernel/random/boot_id`: changes at each boot, so that a resumed lease sees a reboot.
    pub boot_id: [u8; 16],
    /// Kernel release, as `uname -r` prints it.
    pub kernel_release: String,
    /// BLAKE3 of the vDSO, of nothing where there is none. Where home's is another than the node's, the node asks for it.
    pub vdso_hash: [u8; 32],
    /// CPUID feature bits that a program can see, one word per leaf and register in the order `tracee` lists.
    pub cpu_features: Vec<u32>,
    /// XCR0: which XSAVE components the kernel enabled.
    pub xcr0: u64,
    /// Bytes of the XSAVE area with all enabled components (CPUID leaf 0xD, EBX).
    pub xsave_size: u32,
    /// The sender's clocks when the message was written.
    pub clocks: Clocks,
}

/// Readings of clocks that a body must see at home's values, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: i64,
    /// CLOCK_BOOTTIME.
    pub boottime_ns: i64,
    /// CLOCK_REALTIME, only to warn about unset clocks.
    pub realtime_ns: i64,
}

/// A frame that is not the message expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any frame may be.
    #[error("a message of {0} bytes; the most is {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Cut short, or with values out of range.
    #[error("a message that this version does not understand: {0}")]
    Malformed(postcard::Error),
    /// A whole message, and more.
    #[error("a message with {0} bytes too many")]
    Trailing(usize),
}

/// Encodes one message.
///
/// # Panics
/// If `T` holds a sequence of unknown length, which postcard cannot encode; no message does.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages have sequences of known length only")
}

/// Encodes a message whose last field is a byte string, left empty in `message`: all but the `tail` bytes of that
/// string, which the caller appends where there is room for them.
pub fn encode_head<T: Serialize + ?Sized>(message: &T, tail: usize) -> Vec<u8> {
    let mut out = encode(message);
    let length = out.pop();
    debug_assert_eq!(length, Some(0), "the message ends with an empty byte string");
    out.reserve_exact(tail + 10);
    crate::frame::put_varint(&mut out, tail as u64);
    out
}

/// Decodes one message that fills `bytes` exactly. It may borrow from them.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(DecodeError::Malformed)?;
    if rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(name: String, features: Vec<u32>, ns: i64) -> Hello {
        Hello {
            version: VERSION,
            name,
            boot_id: [7; 16],
            kernel_release: "6.18.0".into(),
            vdso_hash: [9; 32],
            cpu_features: features,
            xcr0: 0x602e7,
            xsave_size: 11_008,
            clocks: Clocks { monotonic_ns: ns, boottime_ns: ns, realtime_ns: ns },
        }
    }

    proptest! {
        #[test]
        fn hello_survives(name in ".{0,40}", features in prop::collection::vec(any::<u32>(), 0..30), ns in any::<i64>()) {
            let hello = hello(name, features, ns);
            prop_assert_eq!(decode::<Hello>(&encode(&hello)), Ok(hello));
        }

        #[test]
        fn any_bytes_decode_or_err(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = decode::<Hello>(&bytes);
            let _ = decode::<Vec<Vec<u64>>>(&bytes);
        }

        #[test]
        fn a_damaged_hello_decodes_or_errs(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
            let mut bytes = encode(&hello("a".into(), vec![1; 20], 5));
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let _ = decode::<Hello>(&bytes);
            prop_assert!(decode::<Hello>(&encode(&hello("a".into(), vec![1; 20], 5))[..cut.index(80)]).is_err());
        }
    }

    #[test]
    fn a_tail_is_a_last_field() {
        for len in [0, 1, 127, 128, 70_000] {
            let bytes = vec![7u8; len];
            let whole = encode(&(5u64, serde_bytes::Bytes::new(&bytes)));
            let mut in_parts = encode_head(&(5u64, serde_bytes::Bytes::new(&[])), bytes.len());
            in_parts.extend_from_slice(&bytes);
            assert_eq!(in_parts, whole);
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&5u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(DecodeError::Trailing(1)));
    }
}
