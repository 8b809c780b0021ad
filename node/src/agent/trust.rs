//! Who is let into the cluster and who is no longer of it.

use std::net::SocketAddr;

use bytes::Bytes;
use rand::RngExt;
use wire::PeerName;
use wire::identity::{answer_enrolment, is_authority};
use wire::local::Reply;
use wire::peer;

use super::Agent;
use super::peers::{self, Answer, Question};
use crate::log;
use crate::talk::ToServer;

/// Members that are told of a newer list, which tell others: it reaches all of a cluster of n in about log₈ n rounds.
const TOLD: usize = 8;

impl Agent {
    /// A machine with a token asks to be let in.
    pub(super) fn on_enrol(&mut self, address: SocketAddr, request: &Bytes, answer: peer::Answer) {
        if !is_authority(&self.identity_dir) {
            log::warn("enrolment-refused", &[("address", &address), ("why", &"the CA is on another node")]);
        }
        let enrolment = answer_enrolment(&self.identity_dir, request);
        match &enrolment.outcome {
            Ok(name) => self.journal.note("node-enrolled", &[("node", &name.name), ("address", &address)]),
            Err(error) => log::warn("enrolment-refused", &[("address", &address), ("why", error)]),
        }
        answer.send(enrolment.response.into());
    }

    /// Once a second: whether `mosix` has removed a node here, and whether some other node missed that.
    pub(super) fn tend_revoked(&mut self) {
        match self.revoked.refresh() {
            Ok(true) => self.on_newer_list(),
            Ok(false) if self.revoked.sequence() > 0 && self.rng.random_ratio(1, 30) => {
                self.spread_revoked(1)
            }
            Ok(false) => {}
            Err(error) => log::warn("revoked-unreadable", &[("why", &error)]),
        }
    }

    /// Another node's list of those who were removed.
    pub(super) fn on_revoked(&mut self, from: &PeerName, list: &[u8]) -> Answer {
        match self.revoked.merge(list) {
            Ok(true) => {
                self.journal.note("revoked", &[("sequence", &self.revoked.sequence()), ("from", &from.name)]);
                self.on_newer_list();
            }
            Ok(false) => {}
            Err(error) => log::warn("revoked-refused", &[("peer", from), ("why", &error)]),
        }
        Answer::Taken
    }

    /// Somebody was removed: sessions of theirs end here, processes of this home leave them, others are told.
    fn on_newer_list(&mut self) {
        self.orders.push(ToServer::Revoked);
        let supervisors = self.connections.values().filter(|connection| connection.supervisor.is_some());
        for client in supervisors.map(|connection| connection.client.id).collect::<Vec<_>>() {
            self.tell_supervisor_revoked(client);
        }
        self.spread_revoked(TOLD);
    }

    /// Tells a supervisor whom not to trust, if anybody was ever removed.
    pub(super) fn tell_supervisor_revoked(&mut self, client: u64) {
        if self.revoked.sequence() > 0 {
            let keys = self.revoked.revoked().keys().iter().map(ToString::to_string).collect();
            self.reply(client, Reply::Revoked { keys });
        }
    }

    /// Tells some members, drawn at random.
    pub(super) fn spread_revoked(&mut self, how_many: usize) {
        let mut members = self.cluster.members().to_vec();
        for _ in 0..how_many.min(members.len()) {
            let member = members.swap_remove(self.rng.random_range(0..members.len()));
            self.tell_revoked(member.name.to_string(), member.addr);
        }
    }

    /// Tells one, if anybody was ever removed.
    pub(super) fn tell_revoked(&self, name: String, address: SocketAddr) {
        if self.revoked.sequence() == 0 {
            return;
        }
        let (endpoint, list) = (self.endpoint.clone(), self.revoked.bytes());
        tokio::spawn(async move {
            let question = Question::Revoked(serde_bytes::ByteBuf::from(list.to_vec()));
            // Whoever does not hear it now is told again.
            let _ = peers::ask(endpoint, name, address, question, peers::QUESTION_TIMEOUT).await;
        });
    }
}
