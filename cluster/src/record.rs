//! What a node says of itself, and its encoding of bounded size.

use serde::{Deserialize, Serialize};

use crate::name::{MAX_NAME_BYTES, Name};

/// Labels of one node, at most.
pub const MAX_LABELS: usize = 4;
/// Longest label in bytes.
pub const MAX_LABEL_BYTES: usize = 16;

/// Words of CPUID features: leaf 1 ecx and edx, leaf 7 ebx, ecx and edx, leaf 0x80000001 ecx and edx.
pub const FEATURE_WORDS: usize = 7;

/// Most bytes of an encoded record. Varints of u16, u32 and u64 take at most 3, 5 and 10 bytes:
/// name 64, incarnation 10, sequence 5, five u32 of speed, cores and load 25, two pressures 6, three memory sizes 15,
/// guests 3, terms 2 + 3 + 5 + 6, features 35 + 10 + 5, labels 1 + 4 × 17.
pub const MAX_RECORD_BYTES: usize = 263;

/// What of a CPU an image depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Features {
    /// CPUID feature bits, in the order of [`FEATURE_WORDS`].
    pub cpuid: [u32; FEATURE_WORDS],
    /// XSAVE components that the kernel enabled.
    pub xcr0: u64,
    /// Bytes of an XSAVE area with all of them.
    pub xsave_bytes: u32,
}

impl Features {
    /// Whether a process that has looked at `home`'s CPU can go on here: every feature that it may have found is
    /// here too, and its register state has the same layout. It is the rule by which the executor accepts a home.
    pub fn hosts(&self, home: &Features) -> bool {
        let all_here = self.cpuid.iter().zip(&home.cpuid).all(|(here, there)| there & !here == 0);
        all_here && self.xcr0 == home.xcr0 && self.xsave_bytes == home.xsave_bytes
    }
}

/// What of a node's policy others have to know before they ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// New guests may come: not blocked, and within the hours of use.
    pub open: bool,
    /// The owner needs the machine: guests are sent away and none may come.
    pub claimed: bool,
    /// Most guests at a time.
    pub max_guests: u16,
    /// Most memory of all guests, in MiB.
    pub max_guest_memory_mib: u32,
    /// Cores that all guests together may use, in thousandths; None is all.
    pub guest_cores_milli: Option<u32>,
}

impl Terms {
    /// Cores that guests have of those that local tasks leave.
    pub fn guest_cores(&self, left: f64) -> f64 {
        self.guest_cores_milli.map_or(left, |milli| left.min(f64::from(milli.max(10)) / 1e3))
    }
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            open: true,
            claimed: false,
            max_guests: u16::MAX,
            max_guest_memory_mib: u32::MAX,
            guest_cores_milli: None,
        }
    }
}

/// One node's load as it was at one moment.
///
/// Numbers are integers so that equal records are equal bytes everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Whose.
    pub name: Name,
    /// Incarnation of the node when it spoke, see [`NodeId`](crate::NodeId).
    pub incarnation: u64,
    /// Grows with each record of an incarnation.
    pub sequence: u32,
    /// Speed of one core, in thousandths of the unit that [`speed`](crate::speed) defines.
    pub speed_milli: u32,
    /// Cores that tasks may use as affinity and cgroups allow, in thousandths of a core.
    pub cores_milli: u32,
    /// Runnable tasks of the node's own users, smoothed, in thousandths.
    pub local_milli: u32,
    /// Runnable guests, smoothed, in thousandths.
    pub guests_milli: u32,
    /// Runnable tasks of both kinds at this moment, in thousandths, not smoothed.
    pub runnable_milli: u32,
    /// Share of time in which some task waited for a CPU (PSI `some avg10`), in thousandths.
    pub psi_cpu_permille: u16,
    /// Share of time in which some task waited for memory (PSI `some avg10`), in thousandths.
    pub psi_memory_permille: u16,
    /// Memory that processes may use as cgroups allow, in MiB.
    pub memory_total_mib: u32,
    /// Of it available without swapping, in MiB.
    pub memory_free_mib: u32,
    /// Memory of all guests, in MiB.
    pub guest_memory_mib: u32,
    /// Guests, runnable or not.
    pub guests: u16,
    /// On what terms it takes guests.
    pub terms: Terms,
    /// Its CPU.
    pub features: Features,
    /// What its owner calls it, for `--label`; at most [`MAX_LABELS`] of [`MAX_LABEL_BYTES`].
    #[serde(deserialize_with = "labels")]
    pub labels: Vec<Name>,
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Cut short, or with values out of range.
    #[error("a load record that does not decode")]
    Malformed,
    /// Numbers no machine has.
    #[error("a load record with impossible numbers")]
    Impossible,
}

impl LoadRecord {
    /// Speed of one core in units.
    pub fn speed(&self) -> f64 {
        f64::from(self.speed_milli) / 1e3
    }

    /// Cores.
    pub fn cores(&self) -> f64 {
        f64::from(self.cores_milli) / 1e3
    }

    /// Which of two records of one node is newer: larger is.
    pub fn freshness(&self) -> (u64, u32) {
        (self.incarnation, self.sequence)
    }

    /// Appends the encoding, at most [`MAX_RECORD_BYTES`].
    ///
    /// # Panics
    /// If a name or label is longer than it may be, which no constructor allows.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        let before = out.len();
        *out = postcard::to_extend(self, std::mem::take(out))
            .expect("a record has no sequence of unknown length");
        assert!(out.len() - before <= MAX_RECORD_BYTES, "a record larger than its bound");
    }

    /// Decodes one record from the front of `bytes`, and returns what follows it.
    pub fn decode_from(bytes: &[u8]) -> Result<(LoadRecord, &[u8]), RecordError> {
        let (record, rest) =
            postcard::take_from_bytes::<LoadRecord>(bytes).map_err(|_| RecordError::Malformed)?;
        record.check()?;
        Ok((record, rest))
    }

    /// Refuses what would make prices infinite or absurd: a node without speed, cores or memory, or with more than
    /// a million times what a machine has.
    fn check(&self) -> Result<(), RecordError> {
        let speed_sane = (10..=1_000_000).contains(&self.speed_milli);
        let cores_sane = (10..=1_000_000_000).contains(&self.cores_milli);
        let memory_sane = self.memory_total_mib > 0 && self.memory_free_mib <= self.memory_total_mib;
        let pressure_sane = self.psi_cpu_permille <= 1000 && self.psi_memory_permille <= 1000;
        if speed_sane && cores_sane && memory_sane && pressure_sane {
            Ok(())
        } else {
            Err(RecordError::Impossible)
        }
    }
}

fn labels<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Name>, D::Error> {
    struct Labels;
    impl<'de> serde::de::Visitor<'de> for Labels {
        type Value = Vec<Name>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MAX_LABELS} labels of {MAX_LABEL_BYTES} bytes")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Name>, A::Error> {
            let mut labels = Vec::new();
            while let Some(label) = seq.next_element::<Name>()? {
                if labels.len() == MAX_LABELS || label.as_str().len() > MAX_LABEL_BYTES {
                    return Err(serde::de::Error::invalid_length(labels.len() + 1, &self));
                }
                labels.push(label);
            }
            Ok(labels)
        }
    }
    deserializer.deserialize_seq(Labels)
}

const _: () = assert!(MAX_NAME_BYTES < 128, "a name's length is one byte of varint");

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An idle node of the reference speed.
    pub(crate) fn idle(name: &str, cores: u32) -> LoadRecord {
        LoadRecord {
            name: Name::new(name).unwrap(),
            incarnation: 1,
            sequence: 1,
            speed_milli: 1000,
            cores_milli: cores * 1000,
            local_milli: 0,
            guests_milli: 0,
            runnable_milli: 0,
            psi_cpu_permille: 0,
            psi_memory_permille: 0,
            memory_total_mib: 8192,
            memory_free_mib: 7000,
            guest_memory_mib: 0,
            guests: 0,
            terms: Terms::default(),
            features: Features::default(),
            labels: Vec::new(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<LoadRecord, RecordError> {
        LoadRecord::decode_from(bytes).map(|(record, _)| record)
    }

    /// Every field at its longest encoding.
    fn largest() -> LoadRecord {
        LoadRecord {
            name: Name::new(&"n".repeat(MAX_NAME_BYTES)).unwrap(),
            incarnation: u64::MAX,
            sequence: u32::MAX,
            speed_milli: u32::MAX,
            cores_milli: u32::MAX,
            local_milli: u32::MAX,
            guests_milli: u32::MAX,
            runnable_milli: u32::MAX,
            psi_cpu_permille: u16::MAX,
            psi_memory_permille: u16::MAX,
            memory_total_mib: u32::MAX,
            memory_free_mib: u32::MAX,
            guest_memory_mib: u32::MAX,
            guests: u16::MAX,
            terms: Terms { guest_cores_milli: Some(u32::MAX), ..Terms::default() },
            features: Features { cpuid: [u32::MAX; FEATURE_WORDS], xcr0: u64::MAX, xsave_bytes: u32::MAX },
            labels: vec![Name::new(&"l".repeat(MAX_LABEL_BYTES)).unwrap(); MAX_LABELS],
        }
    }

    #[test]
    fn the_bound_is_reached_and_never_passed() {
        let mut out = Vec::new();
        largest().encode_to(&mut out);
        assert!(out.len() <= MAX_RECORD_BYTES && out.len() + 8 >= MAX_RECORD_BYTES, "{}", out.len());
    }

    #[test]
    fn impossible_numbers_and_too_many_labels_are_refused() {
        let spoil: [fn(&mut LoadRecord); 6] = [
            |r| r.speed_milli = 0,
            |r| r.cores_milli = 0,
            |r| r.memory_total_mib = 0,
            |r| r.memory_free_mib = r.memory_total_mib + 1,
            |r| r.psi_cpu_permille = 1001,
            |r| r.speed_milli = u32::MAX,
        ];
        for spoil in spoil {
            let mut record = idle("a", 2);
            spoil(&mut record);
            let bytes = postcard::to_stdvec(&record).unwrap();
            assert_eq!(decode(&bytes), Err(RecordError::Impossible));
        }
        let label = Name::new("l").unwrap();
        let record = LoadRecord { labels: vec![label; MAX_LABELS + 1], ..idle("a", 2) };
        assert_eq!(decode(&postcard::to_stdvec(&record).unwrap()), Err(RecordError::Malformed));
    }

    #[test]
    fn a_cpu_that_lacks_a_feature_or_has_another_layout_hosts_nothing() {
        let home = Features { cpuid: [0b11, 0, 0, 0, 0, 0, 0], xcr0: 7, xsave_bytes: 832 };
        let mut more = home;
        more.cpuid[2] = 1 << 16;
        assert!(home.hosts(&home) && more.hosts(&home));
        assert!(!home.hosts(&more), "AVX-512 is seen at home and missing there");
        assert!(!Features { xcr0: 0xe7, xsave_bytes: 2696, ..more }.hosts(&home));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_err(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = LoadRecord::decode_from(&bytes);
        }

        #[test]
        fn a_record_survives_and_a_damaged_one_decodes_or_errs(
            at in any::<prop::sample::Index>(), bit in 0u8..8, sequence in any::<u32>(), load in any::<u32>(),
        ) {
            let record = LoadRecord { sequence, local_milli: load, ..idle("node-1", 4) };
            let mut bytes = Vec::new();
            record.encode_to(&mut bytes);
            prop_assert_eq!(decode(&bytes), Ok(record));
            prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let _ = decode(&bytes);
        }
    }
}
