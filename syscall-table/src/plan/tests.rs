//! Properties of marshalling, and the cases that are easy to get wrong.

use super::*;
use crate::lookup::{all, by_name};
use proptest::prelude::*;

/// Pages that can be read, everything else cannot.
struct Pages {
    base: u64,
    bytes: Vec<u8>,
}

impl Pages {
    fn new(bytes: impl Into<Vec<u8>>) -> Pages {
        Pages { base: 0x10000, bytes: bytes.into() }
    }
}

impl GuestRead for Pages {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        let Some(start) = addr.checked_sub(self.base).filter(|&s| s < self.bytes.len() as u64) else {
            return 0;
        };
        let n = buf.len().min(self.bytes.len() - start as usize);
        buf[..n].copy_from_slice(&self.bytes[start as usize..][..n]);
        n
    }
}

fn planned(name: &str, args: [u64; 6], mem: &mut Pages) -> Plan {
    plan(by_name(name).expect(name).nr, args, mem).expect(name)
}

/// What home's kernel would see: every pointer resolved to a buffer index.
fn check(plan: &Plan) {
    let total: u64 = plan.bufs.iter().map(|b| u64::from(b.room)).sum();
    assert!(total <= u64::from(MAX_ROOM_BYTES), "{total} bytes of room");
    assert!(plan.bufs.len() <= MAX_BUFS);
    for buf in &plan.bufs {
        assert!(buf.data.len() <= buf.room as usize);
        if let Out::LenFrom { buf, offset, .. } = buf.out {
            assert!(plan.bufs[buf as usize].room >= offset + 4);
        }
    }
    for patch in &plan.patches {
        assert!((patch.target as usize) < plan.bufs.len());
        match patch.at {
            At::Arg(n) => assert!(n < 6),
            At::Buf { buf, offset } => {
                assert!(offset as usize + 8 <= plan.bufs[buf as usize].data.len());
            }
        }
    }
}

fn outputs_of(plan: &Plan, ret: i64, after: &[Vec<u8>]) -> Vec<Range> {
    outputs(plan.bufs.iter().map(|b| (b.room, &b.out)), ret, &|i| &after[i as usize])
}

fn blank(plan: &Plan) -> Vec<Vec<u8>> {
    plan.bufs
        .iter()
        .map(|b| {
            let mut v = b.data.clone();
            v.resize(b.room as usize, 0);
            v
        })
        .collect()
}

fn le(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[test]
fn a_read_has_room_and_returns_what_it_got() {
    let plan = planned("read", [3, 0x5000, 100, 0, 0, 0], &mut Pages::new([]));
    assert_eq!(plan.bufs, [Buf { addr: 0x5000, data: vec![], room: 100, out: Out::Ret { before: 0 } }]);
    assert_eq!(plan.patches, [Patch { at: At::Arg(1), target: 0 }]);
    assert_eq!(outputs_of(&plan, 7, &blank(&plan)), [Range { buf: 0, offset: 0, len: 7 }]);
    assert_eq!(outputs_of(&plan, -5, &blank(&plan)), []);
    assert_eq!(outputs_of(&plan, 1000, &blank(&plan)), [Range { buf: 0, offset: 0, len: 100 }]);
}

#[test]
fn counts_beyond_the_room_are_cut() {
    let plan = planned("read", [3, 0x5000, 1 << 31, 0, 0, 0], &mut Pages::new([]));
    assert_eq!(plan.args[2], u64::from(MAX_DATA_BYTES));
    let plan = planned("read", [3, 0x5000, u64::MAX, 0, 0, 0], &mut Pages::new([]));
    assert_eq!(plan.args[..3], [3, BAD_ADDRESS, u64::MAX], "the kernel refuses it");
    let waitall = plan_nr("recvfrom", [3, 0x5000, 1 << 30, 0x100, 0, 0]);
    assert_eq!(waitall, Err(PlanError::TooBig));
}

fn plan_nr(name: &str, args: [u64; 6]) -> Result<Plan, PlanError> {
    plan(by_name(name).expect(name).nr, args, &mut Pages::new([]))
}

#[test]
fn a_write_sends_the_readable_prefix() {
    let mut mem = Pages::new(*b"hello");
    let plan = planned("write", [1, 0x10000, 10, 0, 0, 0], &mut mem);
    assert_eq!((plan.args[2], plan.bufs[0].data.as_slice()), (5, b"hello".as_slice()));
    let plan = planned("write", [1, 0x20000, 10, 0, 0, 0], &mut mem);
    assert_eq!(plan.args[1..3], [BAD_ADDRESS, 10]);
    let plan = planned("sendto", [1, 0x10000, 10, 0, 0, 0], &mut mem);
    assert_eq!(plan.args[1], BAD_ADDRESS, "a datagram is whole or not at all");
    let plan = planned("write", [1, 0x20000, 0, 0, 0, 0], &mut mem);
    assert_eq!(plan.patches.len(), 1, "writing nothing needs a valid pointer");
}

#[test]
fn null_stays_null() {
    let plan = planned("wait4", [u64::MAX, 0, 0, 0, 0, 0], &mut Pages::new([]));
    assert_eq!((plan.bufs.len(), plan.args[1]), (0, 0));
}

#[test]
fn strings_end_at_their_nul_or_at_path_max() {
    let mut long = vec![b'a'; 9000];
    long.push(0);
    let plan = planned("chdir", [0x10000, 0, 0, 0, 0, 0], &mut Pages::new(long));
    assert_eq!(plan.bufs[0].room, 4097);
    let plan = planned("chdir", [0x10000, 0, 0, 0, 0, 0], &mut Pages::new(*b"/tmp\0rest"));
    assert_eq!(plan.bufs[0].data, b"/tmp\0");
    let plan = planned("chdir", [0x10000, 0, 0, 0, 0, 0], &mut Pages::new(*b"/tm"));
    assert_eq!(plan.args[0], BAD_ADDRESS);
}

#[test]
fn argument_lists_are_patched_string_by_string() {
    let mut bytes = le(&[0x10018, 0x1001b, 0]);
    bytes.extend_from_slice(b"ls\0-l\0");
    let plan = planned("execve", [0x10018, 0x10000, 0, 0, 0, 0], &mut Pages::new(bytes));
    check(&plan);
    let strings: Vec<&[u8]> = plan.bufs.iter().map(|b| b.data.as_slice()).collect();
    assert_eq!(strings, [&b"ls\0"[..], &le(&[0, 0, 0]), b"ls\0", b"-l\0"]);
    assert_eq!(plan.patches[3], Patch { at: At::Buf { buf: 1, offset: 8 }, target: 3 });
}

#[test]
fn a_vector_scatters_what_was_read() {
    let mut mem = Pages::new(le(&[0x5000, 4, 0, 0, 0x6000, 10]));
    let plan = planned("readv", [3, 0x10000, 3, 0, 0, 0], &mut mem);
    check(&plan);
    assert_eq!(plan.bufs.len(), 3);
    assert_eq!(plan.bufs[2].out, Out::Ret { before: 4 });
    let got = outputs_of(&plan, 6, &blank(&plan));
    assert_eq!(got, [Range { buf: 1, offset: 0, len: 4 }, Range { buf: 2, offset: 0, len: 2 }]);
}

#[test]
fn a_vector_is_sent_up_to_the_bad_page() {
    let mut bytes = le(&[0x10020, 4, 0x90000, 10]);
    bytes.extend_from_slice(b"data");
    let plan = planned("writev", [3, 0x10000, 2, 0, 0, 0], &mut Pages::new(bytes));
    assert_eq!(plan.bufs[0].data, le(&[0, 4, 0, 0]));
    let plan = planned("writev", [3, 0x10000, 1, 0, 0, 0], &mut Pages::new(le(&[0x90000, 10])));
    assert_eq!(plan.bufs[0].data, le(&[BAD_ADDRESS, 10]));
    let plan = planned("writev", [3, 0x10000, 1025, 0, 0, 0], &mut Pages::new([]));
    assert_eq!(plan.args[1..3], [BAD_ADDRESS, 1025]);
}

#[test]
fn recvmsg_writes_lengths_but_no_pointers() {
    let header = le(&[0x70000, 16, 0x10038, 1, 0x80000, 64, 0, 0x5000, 100]);
    let plan = planned("recvmsg", [3, 0x10000, 0, 0, 0, 0], &mut Pages::new(header));
    check(&plan);
    let mut after = blank(&plan);
    after[0][8] = 110; // the name is longer than its room
    after[0][40] = 24;
    let got = outputs_of(&plan, 5, &after);
    assert!(got.contains(&Range { buf: 1, offset: 0, len: 16 }), "{got:?}");
    assert!(got.contains(&Range { buf: 3, offset: 0, len: 5 }), "{got:?}");
    assert!(got.contains(&Range { buf: 4, offset: 0, len: 24 }), "{got:?}");
    assert!(!got.iter().any(|r| r.buf == 0 && (r.offset < 8 || (16..40).contains(&r.offset))));
}

#[test]
fn recvmmsg_returns_only_received_messages() {
    let one = |iov: u64| [0x70000, 16, iov, 1, 0, 0, 0, 99];
    let mut words = one(0x10080).to_vec();
    words.extend(one(0x10090));
    words.extend([0x5000, 100, 0x6000, 100]);
    let plan = planned("recvmmsg", [3, 0x10000, 2, 0, 0, 0], &mut Pages::new(le(&words)));
    check(&plan);
    let mut after = blank(&plan);
    after[0][56] = 9;
    let got = outputs_of(&plan, 1, &after);
    assert!(got.iter().all(|r| r.buf != 0 || r.offset < 64), "{got:?}");
    assert_eq!(got.iter().filter(|r| r.buf > 0).map(|r| r.len).collect::<Vec<_>>(), [16, 9]);
}

#[test]
fn a_value_result_length_bounds_its_buffer() {
    let plan = planned("getsockname", [3, 0x5000, 0x10000, 0, 0, 0], &mut Pages::new(le(&[16])));
    check(&plan);
    assert_eq!(plan.patches.len(), 2);
    let mut after = blank(&plan);
    after[0][0] = 200;
    let got = outputs_of(&plan, 0, &after);
    assert_eq!(got, [Range { buf: 0, offset: 0, len: 4 }, Range { buf: 1, offset: 0, len: 16 }]);
}

#[test]
fn pselect_carries_its_mask() {
    let mem = le(&[0x10010, 8, 0xdead]);
    let plan = planned("pselect6", [0, 0, 0, 0, 0, 0x10000], &mut Pages::new(mem));
    assert_eq!(plan.bufs[0].data, le(&[0, 8]));
    assert_eq!(plan.bufs[1].data, le(&[0xdead]));
    assert_eq!(plan.patches[1], Patch { at: At::Buf { buf: 0, offset: 0 }, target: 1 });
}

#[test]
fn unknown_numbers_and_requests_go_home() {
    assert!(matches!(plan_nr("ioctl", [0, 0xdeadbeef, 0, 0, 0, 0]), Err(PlanError::GoHome(_))));
    for nr in [337, 400, 423, 470, u32::MAX] {
        assert!(matches!(plan(nr, [0; 6], &mut Pages::new([])), Err(PlanError::GoHome(_))));
    }
}

#[test]
fn a_call_made_again_gets_what_remains() {
    use std::time::Duration;
    let how = |name: &str, args: &[u64; 6]| match crate::wait_of(by_name(name).unwrap().nr, args) {
        Wait::Timed(how) => how,
        other => panic!("{name}: {other:?}"),
    };
    let args = [0, 0, 1500, 0, 0, 0];
    let mut poll = planned("poll", args, &mut Pages::new([]));
    assert_eq!(timeout(how("poll", &args), &poll), Some(Duration::from_millis(1500)));
    set_timeout(how("poll", &args), &mut poll, Duration::from_micros(1001));
    assert_eq!(poll.args[2], 2, "never shorter than what remains");

    let mut mem = Pages::new(le(&[2, 999_999]));
    let args = [0, 0, 0, 0, 0x10000, 0];
    let mut select = planned("select", args, &mut mem);
    assert_eq!(timeout(how("select", &args), &select), Some(Duration::new(2, 999_999_000)));
    set_timeout(how("select", &args), &mut select, Duration::new(0, 999_999_001));
    assert_eq!(select.bufs[0].data, le(&[1, 0]));

    let args = [1, 1, 0x10000, 0, 0, 0];
    let sleep = planned("clock_nanosleep", args, &mut mem);
    assert_eq!(timeout(how("clock_nanosleep", &args), &sleep), None, "absolute");
}

/// Arguments that mean something more often than chance would have it.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..20,
        Just(0),
        0x10000u64..0x12000,
        (0u64..64).prop_map(|i| 0x10000 + i * 8),
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
        (0u64..1 << 25),
    ]
}

fn request() -> impl Strategy<Value = u64> {
    prop_oneof![
        argument(),
        (0usize..1000).prop_map(|i| crate::ioctl::IOCTL_OPS[i % crate::ioctl::IOCTL_OPS.len()].value)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, ..ProptestConfig::default() })]

    #[test]
    fn any_call_is_planned_within_bounds(
        row in 0..all().len(),
        args in (argument(), request(), argument(), argument(), argument(), argument()),
        words in prop::collection::vec(argument(), 0..400usize),
        ret in prop_oneof![any::<i64>(), -10i64..2000],
        noise in any::<u8>(),
    ) {
        let mut mem = Pages::new(le(&words));
        let args = [args.0, args.1, args.2, args.3, args.4, args.5];
        if let Ok(plan) = plan(all()[row].nr, args, &mut mem) {
            check(&plan);
            let after: Vec<Vec<u8>> = plan.bufs.iter().map(|b| vec![noise; b.room as usize]).collect();
            for range in outputs_of(&plan, ret, &after) {
                prop_assert!(range.len > 0);
                let home = plan.patches.iter().any(|patch| match patch.at {
                    At::Buf { buf, offset } => {
                        buf == range.buf && offset < range.offset + range.len && range.offset < offset + 8
                    }
                    At::Arg(_) => false,
                });
                prop_assert!(!home, "an address of home's comes back");
                prop_assert!(range.offset as u64 + u64::from(range.len) <= u64::from(plan.bufs[range.buf as usize].room));
            }
        }
    }
}
