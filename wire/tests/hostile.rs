//! Whatever bytes come, each message is read or refused: no panic, and no memory beyond what the bytes can fill.

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use wire::message::{self, Hello};
use wire::session::{
    Begin, Buf, Call, ContentPart, Control, Dispositions, Down, FromBody, Outcome, ProcessKey, ThreadKey,
    ToBody, Up, Vdso, WantContent,
};
use wire::trace::{Entry, Exit, Traced, Wanted};

/// Reads bytes as each message that is ever read from a peer. Of what is read the encoding is read back.
fn read_all(bytes: &[u8]) {
    fn read<T: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(message) = message::decode::<T>(bytes) {
            // A NaN is not itself; the second reading is.
            let again = message::encode(&message);
            let back: T = message::decode(&again).expect("what was read can be read again");
            assert_eq!(message::encode(&back), again);
        }
    }
    read::<Hello>(bytes);
    read::<Begin>(bytes);
    read::<Control>(bytes);
    read::<Vdso>(bytes);
    read::<Up>(bytes);
    read::<Down>(bytes);
    read::<WantContent>(bytes);
    read::<ContentPart>(bytes);
    // These may borrow.
    if let Ok(message) = message::decode::<ToBody>(bytes) {
        assert!(message::decode::<ToBody>(&message::encode(&message)).is_ok());
    }
    if let Ok(message) = message::decode::<FromBody>(bytes) {
        assert!(message::decode::<FromBody>(&message::encode(&message)).is_ok());
    }
}

/// One of each kind that has a length in it somewhere.
fn samples() -> Vec<Vec<u8>> {
    let bytes = || ByteBuf::from(vec![7; 40]);
    let dispositions = Dispositions { ignored: 1 << 16, caught: 2, child_flags: 1, waited: 4 };
    let buf = Buf { data: bytes(), room: 64, page_offset: 8, out: syscall_table::Out::Full };
    let call = Call {
        seq: 9,
        nr: 0,
        args: [3, 0, 64, 0, 0, 0],
        bufs: vec![buf.clone(), buf],
        patches: vec![syscall_table::Patch { at: syscall_table::At::Arg(1), target: 0 }],
        mask: Some(u64::MAX),
        seen: 3,
        signaled: true,
        until: Some(1 << 40),
    };
    let exec = Up::Exec {
        seq: 4,
        dir: -100,
        flags: 0,
        path: bytes(),
        argv: bytes(),
        envp: bytes(),
        mask: 5,
        pending: vec![bytes(), bytes()],
        seen: vec![(ThreadKey(1), 2), (ThreadKey(300), 70_000)],
    };
    let entry = Entry { at_ns: 1 << 50, nr: 1, args: [1; 6], text: "write(1, ".into() };
    let traced = Traced::Exit(Exit {
        entry: Some(entry),
        ret: -4,
        rest: "8)".into(),
        result: "-1 EINTR (Interrupted system call)".into(),
        forwarded: true,
        took_ns: 77_000,
        asked_ns: 70_000,
        asked_from: Some(1 << 20),
    });
    let reply =
        Down::Reply { seq: 1, outcome: Outcome::Done(-4), outs: vec![(0, 8, bytes()), (1, 0, bytes())] };
    let place = ToBody::Place {
        image: bytes(),
        threads: vec![ThreadKey(1), ThreadKey(2)],
        replaces: Some(ProcessKey(9)),
        dispositions,
        stale: vec![(4096, 8192), (1 << 40, 1 << 41)],
    };
    let pages = FromBody::Pages { start: 1 << 44, bytes: vec![1; 100].into() };
    let part = ContentPart { content: [3; 32], offset: 1 << 33, bytes: bytes() };
    let vdso = Vdso { code: bytes(), vvar_bytes: 16384, random: Some(bytes()) };
    vec![
        message::encode(&Up::Call(call)),
        message::encode(&exec),
        message::encode(&Up::Traced(traced)),
        message::encode(&reply),
        message::encode(&place),
        message::encode(&ToBody::Trace(Some(Wanted::all()))),
        message::encode(&pages),
        message::encode(&part),
        message::encode(&vdso),
        message::encode(&Control::Refused("no".into())),
    ]
}

#[test]
fn samples_are_read() {
    for sample in samples() {
        read_all(&sample);
        (0..sample.len()).for_each(|len| read_all(&sample[..len]));
    }
}

#[test]
fn a_length_that_is_not_there_costs_nothing() {
    // Ten bytes of 0xff and the like are a length of 2⁶³ and more, wherever one stands.
    for sample in samples() {
        for at in 0..sample.len() {
            let long = [&sample[..at], &[0xff; 9], &[1], &sample[at..]].concat();
            read_all(&long);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn messages_with_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let mut bytes = which.get(&samples).clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        read_all(&bytes);
    }
}
