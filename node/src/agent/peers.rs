//! What agents ask each other. Every byte of it comes from another machine and is checked before it is used.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cluster::LoadRecord;
use cluster::placement::{Leaving, Offer, Refusal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use wire::message;
use wire::peer::Endpoint;

/// First byte of each question and answer.
const VERSION: u8 = 2;
/// How long a process is held at its exec for a node's answer.
pub(super) const OFFER_TIMEOUT: Duration = Duration::from_millis(200);
/// How long other questions may take.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// May this process come?
    Offer {
        /// Which.
        offer: Offer,
        /// Whose it is, as his certificate has it.
        user: String,
    },
    /// A process of the one who is asked is to leave the one who asks.
    Evict {
        /// Home's number for it.
        job: u64,
        /// Why.
        because: Leaving,
    },
    /// Who was removed from the cluster, as the CA has signed it.
    Revoked(ByteBuf),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It may; the answerer's load counts it already.
    Accepted {
        /// The UDP port for sessions, at the address that was asked.
        port: u16,
        /// The answerer's load record.
        record: Record,
    },
    /// It may not.
    Refused {
        /// Why.
        reason: Refusal,
        /// The answerer's load record.
        record: Record,
    },
    /// About an eviction: it goes (true), or stays since there is nothing better.
    Goes(bool),
    /// It has been heard.
    Taken,
}

/// A load record in its own encoding, whose reader checks its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record(ByteBuf);

impl Record {
    pub(super) fn of(record: &LoadRecord) -> Record {
        let mut bytes = Vec::new();
        record.encode_to(&mut bytes);
        Record(ByteBuf::from(bytes))
    }

    /// What it says, if that is of the node with this name.
    pub(super) fn read(&self, name: &str) -> Option<LoadRecord> {
        let (record, rest) = LoadRecord::decode_from(&self.0).ok()?;
        (rest.is_empty() && record.name.as_str() == name).then_some(record)
    }
}

pub(super) fn encode(message: &impl Serialize) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.extend(message::encode(message));
    bytes.into()
}

/// None: of another version, or nonsense.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, rest) = bytes.split_first()?;
    (*version == VERSION).then(|| message::decode(rest).ok())?
}

/// Asks the node of that name, which must answer in time and itself.
pub(super) async fn ask(
    endpoint: Endpoint,
    name: String,
    address: SocketAddr,
    question: Question,
    within: Duration,
) -> Result<Answer, String> {
    let asked = tokio::time::timeout(within, endpoint.ask(address, encode(&question)));
    let (from, answer) = asked
        .await
        .map_err(|_| format!("no answer in {} ms", within.as_millis()))?
        .map_err(|error| error.to_string())?;
    if from.name != name {
        return Err(format!("{} answers at {address}", from.name));
    }
    decode(&answer).ok_or_else(|| "an answer of another version of mosixd".into())
}

#[cfg(test)]
mod tests {
    use cluster::{Features, LoadSample, Name, Own, OwnLoad};

    use super::*;

    fn record(name: &str) -> LoadRecord {
        let own = Own::new(Name::new(name).unwrap(), Features::default(), []);
        OwnLoad::new(Duration::ZERO, LoadSample::idle(2.0, 1000, 512)).record(&own, 1, 1)
    }

    #[test]
    fn questions_and_answers_survive_and_others_do_not() {
        let question = Question::Evict { job: 7, because: Leaving::Crowded };
        let bytes = encode(&question);
        assert_eq!(decode::<Question>(&bytes), Some(question));
        for damage in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[1, 0], &[]] {
            assert_eq!(decode::<Question>(damage), None);
        }
    }

    #[test]
    fn a_record_speaks_for_its_node_alone() {
        let sent = Record::of(&record("a"));
        assert_eq!(sent.read("a"), Some(record("a")));
        assert_eq!(sent.read("b"), None);
        let impossible = LoadRecord { memory_total_mib: 0, ..record("a") };
        assert_eq!(Record::of(&impossible).read("a"), None);
        assert_eq!(Record(ByteBuf::from(vec![1, 2])).read("a"), None);
    }
}
