//! Hearing a peer, from its handshake to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use quinn::{Connection, ConnectionError, ReadToEndError, RecvStream, SendStream, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::config::MAX_QUESTIONS_OF_PEER;
use super::table::Peer;
use super::{
    Answer, Event, MAX_DATAGRAM_BYTES, MAX_QUESTION_BYTES, PeerError, QUESTION_TIMEOUT, Shared, code,
};
use crate::identity::{PeerName, Role, key_ids};

/// Takes in a connection whose handshake is done, whoever began it.
pub(super) fn admit(
    shared: &Arc<Shared>,
    connection: Connection,
    address: SocketAddr,
) -> Result<Arc<Peer>, PeerError> {
    let shown =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = shown.map(|chain| *chain).unwrap_or_default();
    // The verifier has read the same name from the same certificate, if there was one.
    let name = chain.first().and_then(PeerName::of_certificate).filter(|name| name.role == Role::Node);
    let Some(name) = name else {
        connection.close(code::NO_CERTIFICATE, b"it shows no certificate; run `mosix join` there");
        return Err(PeerError::Refused(format!(
            "refused {address}: it shows no certificate of this cluster ({}); run `mosix join` there",
            shared.own.cluster
        )));
    };
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_QUESTIONS_OF_PEER));
    let peer = Arc::new(Peer { connection, name, keys: key_ids(chain.iter()), address });
    if let Some(surplus) = shared.table().add(peer.clone(), Instant::now()) {
        surplus.connection.close(code::TOO_MANY, b"it makes room for other connections");
    }
    // The set may have changed between the handshake and the table, where those that change later are found.
    shared.drop_if_revoked(&peer);
    shared.runtime.spawn(attend(shared.clone(), peer.clone()));
    Ok(peer)
}

/// Hears a peer until its connection ends.
async fn attend(shared: Arc<Shared>, peer: Arc<Peer>) {
    let ended = tokio::select! {
        ended = datagrams(&shared, &peer) => ended,
        ended = questions(&shared, &peer) => ended,
    };
    shared.table().remove(&peer);
    let why = PeerError::connection(ended, peer.address, Some(&peer.name), &shared.own);
    if let PeerError::Refused(why) = why {
        shared.refuse(peer.address, why);
    }
}

async fn datagrams(shared: &Shared, peer: &Peer) -> ConnectionError {
    loop {
        let payload = match peer.connection.read_datagram().await {
            Ok(payload) => payload,
            Err(ended) => return ended,
        };
        if payload.len() <= MAX_DATAGRAM_BYTES {
            let (from, address) = (peer.name.clone(), peer.address);
            // A daemon that is behind loses datagrams rather than memory.
            let _ = shared.events.try_send(Event::Datagram { from, address, payload });
        }
    }
}

async fn questions(shared: &Arc<Shared>, peer: &Arc<Peer>) -> ConnectionError {
    loop {
        match peer.connection.accept_bi().await {
            Ok((answering, asking)) => {
                shared.runtime.spawn(question(shared.clone(), peer.clone(), answering, asking));
            }
            Err(ended) => return ended,
        }
    }
}

async fn question(shared: Arc<Shared>, peer: Arc<Peer>, mut answering: SendStream, mut asking: RecvStream) {
    let work = async {
        let Ok(_place) = shared.questions.acquire().await else { return Err(code::NO_ANSWER) };
        let question = match asking.read_to_end(MAX_QUESTION_BYTES).await {
            Ok(question) => question.into(),
            Err(ReadToEndError::TooLong) => return Err(code::TOO_LONG),
            // The asker has changed its mind, or is gone.
            Err(ReadToEndError::Read(_)) => return Err(code::NO_ANSWER),
        };
        let (answer, answered) = Answer::new();
        let event = Event::Question { from: peer.name.clone(), address: peer.address, question, answer };
        shared.events.send(event).await.map_err(|_| code::NO_ANSWER)?;
        let answer = answered.await.map_err(|_| code::NO_ANSWER)?;
        if answer.len() > MAX_QUESTION_BYTES {
            return Err(code::TOO_LONG);
        }
        answering.write_chunk(answer).await.map_err(|_| code::NO_ANSWER)
    };
    let done = timeout(QUESTION_TIMEOUT, work).await.unwrap_or(Err(code::NO_ANSWER));
    // Either fails only if the asker no longer listens.
    match done {
        Ok(()) => drop(answering.finish()),
        Err(why) => {
            let _ = asking.stop(why);
            let _ = answering.reset(why);
        }
    }
}
