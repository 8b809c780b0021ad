//! Guests on this machine: who may come, who must go, and what their sessions are told.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::placement::{Guest, Leaving, Offer, Refusal, admit, relieve};
use cluster::{Input, Name};
use wire::PeerName;

use super::peers::{self, Answer, Question, Record};
use super::{Agent, Happening};
use crate::talk::{ToAgent, ToServer};

/// A process that was let in and does not come is charged for so long.
const COMING: Duration = Duration::from_secs(5);
/// How long a home has to move a process that must go; then its session is told.
const HOME_MOVES: Duration = Duration::from_secs(4);
/// A guest that may stay since there is nothing better is not asked about again for so long.
const KEPT: Duration = Duration::from_secs(5);
/// Guests that were let in and have not come, at most; as many as questions are answered at once, and more.
const MAX_COMING: usize = 1024;

/// A home's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerName,
    /// By pid at home.
    pub(super) guests: BTreeMap<i32, Lodged>,
    /// What this one alone was told.
    unwelcome: bool,
}

/// A guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lodged {
    /// Its pid here.
    pub(super) host: i32,
    pub(super) memory_mib: u32,
    arrival: u64,
    leaving: Option<Leave>,
    kept_until: Duration,
}

/// A guest that was told to go.
#[derive(Clone, Copy, Debug)]
struct Leave {
    because: Leaving,
    since: Duration,
    /// Its session was told, since its home did nothing.
    insisted: bool,
}

/// A process that was let in and is not here yet.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) home: Name,
    job: u64,
    pub(super) memory_mib: u32,
    until: Duration,
}

impl Session {
    /// The node whose user this is.
    pub(super) fn home(&self) -> Option<Name> {
        Name::new(&self.peer.node).ok()
    }

    /// Who vouches for nobody else is a machine, which has its own name.
    fn user(&self) -> &str {
        &self.peer.name
    }
}

impl Agent {
    /// Guests here.
    pub(super) fn guest_count(&self) -> usize {
        self.sessions.values().map(|session| session.guests.len()).sum()
    }

    /// The session server's word.
    pub(super) fn on_session(&mut self, message: ToAgent) {
        match message {
            ToAgent::Began { session, peer } => {
                self.sessions.insert(session, Session { peer, guests: BTreeMap::new(), unwelcome: false });
                self.tend_doors();
            }
            ToAgent::Guests { session, guests } => self.on_guests(session, &guests),
            ToAgent::Ended { session } => {
                if let Some(ended) = self.sessions.remove(&session)
                    && !ended.guests.is_empty()
                {
                    let guests = ended.guests.len();
                    self.journal.note("guests-gone", &[("home", &ended.peer.node), ("guests", &guests)]);
                }
                self.after_change();
            }
        }
    }

    fn on_guests(&mut self, session: i32, now: &[(i32, i32, u32)]) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let mut before = std::mem::take(&mut known.guests);
        let home = known.home();
        let mut changed = false;
        for &(pid, host, memory_mib) in now {
            let guest = match before.remove(&pid).filter(|guest| guest.host == host) {
                Some(guest) => Lodged { memory_mib, ..guest },
                None => {
                    self.arrivals += 1;
                    changed = true;
                    let name = known.peer.node.as_str();
                    self.journal.note("guest-came", &[("home", &name), ("pid", &pid)]);
                    let (arrival, kept_until) = (self.arrivals, Duration::ZERO);
                    Lodged { host, memory_mib, arrival, leaving: None, kept_until }
                }
            };
            known.guests.insert(pid, guest);
            self.coming.retain(|coming| Some(&coming.home) != home.as_ref() || coming.job != pid as u64);
        }
        for pid in before.keys() {
            changed = true;
            self.journal.note("guest-went", &[("home", &known.peer.node), ("pid", pid)]);
        }
        if changed {
            self.after_change();
        }
    }

    /// Guests have come or gone: others hear of it now rather than with the next sample.
    fn after_change(&mut self) {
        self.measure();
        self.tend_doors();
        self.tell_waiting();
    }

    /// Tells sessions whether processes may come. An owner is obeyed even by those who name this node.
    pub(super) fn tend_doors(&mut self) {
        let (day, hour) = tracee::clock::local_day_and_hour();
        let terms = self.policy.terms(day, hour);
        let closed = if self.said.stopping {
            Some("the node is stopping")
        } else if terms.claimed {
            Some("the node's owner needs the machine")
        } else if !terms.open {
            Some("the node takes no guests now")
        } else if self.guest_count() >= usize::from(terms.max_guests) {
            Some("the node has as many guests as it may")
        } else {
            None
        };
        let closed = closed.map(str::to_owned);
        let general = closed != self.doors;
        if general {
            self.orders.push(ToServer::Doors { session: None, closed: closed.clone() });
            self.doors = closed.clone();
        }
        for (pid, session) in &mut self.sessions {
            let unwelcome = session.home().is_some_and(|home| !self.policy.admits(session.user(), &home));
            // What all were told has replaced what this one was.
            if unwelcome && (general || !session.unwelcome) {
                let why = Some("the node takes no guests from this home or user".to_owned());
                self.orders.push(ToServer::Doors { session: Some(*pid), closed: why });
            } else if session.unwelcome && !unwelcome && !general {
                self.orders.push(ToServer::Doors { session: Some(*pid), closed: closed.clone() });
            }
            session.unwelcome = unwelcome;
        }
    }

    /// Another agent asks. None: it is not answered.
    pub(super) fn on_question(&mut self, from: &PeerName, question: &[u8]) -> Option<Answer> {
        let home = Name::new(&from.name).ok()?;
        match peers::decode(question)? {
            Question::Offer { offer, user } => (offer.home == home).then(|| self.on_offer(&offer, &user))?,
            Question::Evict { job, because } => Some(Answer::Goes(self.on_evict(&home, job, because))),
            Question::Revoked(list) => Some(self.on_revoked(from, &list)),
        }
    }

    fn on_offer(&mut self, offer: &Offer, user: &str) -> Option<Answer> {
        let (params, now) = (self.balancer.params.clone(), self.now());
        self.measure();
        let load = self.cluster.load()?;
        let admitted = if !self.policy.admits(user, &offer.home) {
            Err(Refusal::Unwelcome)
        } else if self.coming.len() < MAX_COMING {
            admit(&params, &self.own, load, &self.policy, offer)
        } else {
            Err(Refusal::Full)
        };
        if admitted.is_ok() {
            self.coming.retain(|coming| coming.home != offer.home || coming.job != offer.job);
            self.coming.push(Coming {
                home: offer.home.clone(),
                job: offer.job,
                memory_mib: offer.memory_mib,
                until: now + COMING,
            });
            self.measure();
        }
        let record = Record::of(self.cluster.bulletin().own()?);
        Some(match admitted {
            Ok(()) => Answer::Accepted { port: self.session_port, record },
            Err(reason) => Answer::Refused { reason, record },
        })
    }

    /// Processes that were let in and have not come.
    pub(super) fn forget_the_late(&mut self) {
        let now = self.now();
        self.coming.retain(|coming| coming.until > now);
    }

    /// Sends away who must go, and sees to it that those who were told do.
    pub(super) fn relieve(&mut self) {
        let now = self.now();
        let Some(load) = self.cluster.load() else { return };
        let (day, hour) = tracee::clock::local_day_and_hour();
        let closed = !self.policy.hours.allow(day, hour);
        let mut guests = Vec::new();
        for session in self.sessions.values() {
            let Some(home) = session.home() else { continue };
            let barred = closed || !self.policy.admits(session.user(), &home);
            guests.extend(session.guests.iter().map(|(pid, guest)| Guest {
                home: home.clone(),
                job: *pid as u64,
                memory_mib: guest.memory_mib,
                arrival: guest.arrival,
                barred,
                leaving: guest.leaving.is_some(),
            }));
        }
        for eviction in relieve(&self.balancer.params, load, &guests) {
            let found = self.sessions.iter().find_map(|(session, known)| {
                let pid = eviction.job as i32;
                (known.home().as_ref() == Some(&eviction.home) && known.guests.contains_key(&pid))
                    .then_some((*session, pid))
            });
            if let Some((session, pid)) = found {
                self.evict(session, pid, eviction.because, now);
            }
        }
        self.insist(now);
    }

    fn evict(&mut self, session: i32, pid: i32, because: Leaving, now: Duration) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let Some(guest) = known.guests.get_mut(&pid) else { return };
        if because == Leaving::Crowded && guest.kept_until > now {
            return;
        }
        guest.leaving = Some(Leave { because, since: now, insisted: false });
        let home = known.peer.node.clone();
        self.journal.note("guest-evicted", &[("home", &home), ("pid", &pid), ("why", &because)]);
        let Some(member) = self.member(&home).cloned() else {
            // Its home has no daemon: a program that was sent here by name.
            return self.on_evicted(session, pid, Err("its home has no daemon".into()));
        };
        let (endpoint, agent) = (self.endpoint.clone(), self.happenings.clone());
        let question = Question::Evict { job: pid as u64, because };
        tokio::spawn(async move {
            let answer = peers::ask(endpoint, home, member.addr, question, peers::QUESTION_TIMEOUT).await;
            // The agent ends before its questions are answered.
            let _ = agent.send(Happening::Evicted { session, pid, answer }).await;
        });
    }

    /// A home's answer about a guest that is to go.
    pub(super) fn on_evicted(&mut self, session: i32, pid: i32, answer: Result<Answer, String>) {
        let now = self.now();
        let Some(guest) = self.sessions.get_mut(&session).and_then(|known| known.guests.get_mut(&pid)) else {
            return;
        };
        let Some(leave) = &mut guest.leaving else { return };
        match answer {
            Ok(Answer::Goes(true)) => {}
            // Only a node that is merely crowded keeps it.
            Ok(_) | Err(_) if leave.because == Leaving::Crowded => {
                guest.leaving = None;
                guest.kept_until = now + KEPT;
            }
            Ok(_) | Err(_) => leave.since = now.saturating_sub(HOME_MOVES),
        }
        self.insist(now);
    }

    /// Whose home was asked and did nothing is told by its session, which every supervisor obeys.
    fn insist(&mut self, now: Duration) {
        for (session, known) in &mut self.sessions {
            for (pid, guest) in &mut known.guests {
                let Some(leave) = guest.leaving.as_mut().filter(|leave| !leave.insisted) else { continue };
                if now.saturating_sub(leave.since) >= HOME_MOVES {
                    leave.insisted = true;
                    let why = leave.because.to_string();
                    self.orders.push(ToServer::Evict { session: *session, pid: *pid, why });
                }
            }
        }
    }

    /// What guests are charged for, of this home: it is down.
    pub(super) fn forget_coming(&mut self, home: &Name) {
        self.coming.retain(|coming| coming.home != *home);
    }

    /// Every guest is to leave, now: used when the owner says so.
    pub(super) fn claim(&mut self) {
        self.policy.claimed = true;
        self.input(Input::Tick);
        self.measure();
        self.tend_doors();
        self.relieve();
    }
}
