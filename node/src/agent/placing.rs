//! Where processes of this home go: at exec, while they run, when their node wants them gone, when the owner does.

use std::time::Duration;

use cluster::Name;
use cluster::placement::{Advice, Decision, Eviction, Home, Job, Leaving, Offer, Place, Refusal, Why};
use wire::identity::user_name;
use wire::local::{self, Reply, Target};

use super::jobs::{Tracked, place};
use super::peers::{self, Answer, Question};
use super::{Agent, Happening, JobKey};

/// Nodes asked one after another for a process that is held at its exec.
const MAX_ASKED: u8 = 3;

/// What a node was asked about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    key: JobKey,
    node: Name,
    why: String,
    occasion: Occasion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Its supervisor holds it; so many nodes were asked before.
    Exec(u8),
    /// It would gain by a move.
    Gain,
    /// It must leave where it is.
    Leaves,
    /// Its user wants it there.
    Wish,
}

impl Agent {
    /// A process is held at its exec.
    pub(super) fn on_place(&mut self, client: u64, job: local::Job) {
        let now = self.now();
        let Some((uid, advice)) = self.of_supervisor(client) else { return };
        let key = (client, job.pid);
        let tracked = self.jobs.entry(key).or_insert_with(|| Tracked::new(uid, job.clone(), advice, now));
        tracked.exec(job);
        tracked.placing = true;
        self.place_held(key, 0);
    }

    fn place_held(&mut self, key: JobKey, asked: u8) {
        let (now, stay) = (self.now(), self.said.stay);
        let Some(tracked) = self.jobs.get(&key) else { return };
        let seen = tracked.seen(now, stay);
        // It is stopped, so no count shows it.
        let tasks = self.home_tasks() + 1.0;
        let decision =
            self.decide(tasks, |balancer, home, bulletin, rng| balancer.place(home, bulletin, &seen, rng));
        match decision {
            Some(Decision { place: Place::Node(node), why, offer: Some(offer), .. }) => {
                let occasion = Occasion::Exec(asked);
                let question = self.offer(offer, key);
                self.ask(Asked { key, node, why: why.to_string(), occasion }, question);
            }
            // It is there already: a process that is away has exec'ed.
            Some(Decision { place: Place::Node(node), why, .. }) => {
                self.answer_place(key, Some(&node), why.to_string());
            }
            Some(Decision { why, .. }) => self.answer_place(key, None, why.to_string()),
            None => self.answer_place(key, None, "stays: this machine is not measured yet".into()),
        }
    }

    /// Runnable tasks of this home at this moment, with those that were let go and do not run yet.
    fn home_tasks(&self) -> f64 {
        let now = self.now();
        let starting = self.jobs.values().filter(|tracked| tracked.is_starting(now)).count();
        self.probe.runnable(&self.ours()).local + starting as f64
    }

    fn decide<R>(
        &mut self,
        tasks: f64,
        by: impl FnOnce(
            &cluster::placement::Balancer,
            &Home<'_>,
            &mut cluster::Bulletin,
            &mut rand::rngs::SmallRng,
        ) -> R,
    ) -> Option<R> {
        let now = self.now();
        let (load, latencies, bulletin) = self.cluster.placing()?;
        let home = Home { now, load, tasks, features: &self.features, latencies };
        Some(by(&self.balancer, &home, bulletin, &mut self.rng))
    }

    /// One round over all processes.
    pub(super) fn balance(&mut self) {
        let (now, stay) = (self.now(), self.said.stay);
        let jobs: Vec<Job> = self
            .jobs
            .values()
            .filter(|tracked| !tracked.placing)
            .map(|tracked| tracked.seen(now, stay))
            .collect();
        if jobs.is_empty() {
            return;
        }
        let tasks = self.home_tasks();
        let decisions =
            self.decide(tasks, |balancer, home, bulletin, rng| balancer.balance(home, bulletin, &jobs, rng));
        for decision in decisions.unwrap_or_default() {
            self.carry_out(decision, Occasion::Gain);
        }
    }

    /// A running process goes elsewhere. False if it does not.
    fn carry_out(&mut self, decision: Decision, occasion: Occasion) -> bool {
        let key = self.keys_of(decision.job as i32).into_iter().next();
        let Some(key) = key else { return false };
        let why = decision.why.to_string();
        match (decision.place, decision.offer) {
            // A decision to stay is none to move.
            (Place::Home, _) if self.jobs.get(&key).is_some_and(|tracked| tracked.job.place == "home") => {
                false
            }
            (Place::Home, _) => self.order_move(key, None, why),
            (Place::Node(node), Some(offer)) => {
                if let Some(tracked) = self.jobs.get_mut(&key) {
                    tracked.moving = Some((Place::Node(node.clone()), self.began.elapsed()));
                }
                let question = self.offer(offer, key);
                self.ask(Asked { key, node, why, occasion }, question);
                true
            }
            (Place::Node(_), None) => false,
        }
    }

    /// A user wants a process on a node. The node is asked, whatever it costs there.
    pub(super) fn on_wish(&mut self, key: JobKey, node: &str) {
        let refuse = |agent: &mut Agent, why: String| {
            agent.reply(key.0, Reply::Refused { pid: key.1, why });
        };
        let Some(name) = self.member(node).map(|member| member.name.clone()) else {
            return refuse(self, format!("{node} is no node of this cluster that is up (see mosix nodes)"));
        };
        let Some(tracked) = self.jobs.get(&key) else {
            return refuse(self, "mosixd does not know it yet: try again in a second".into());
        };
        let mut seen = tracked.seen(self.now(), false);
        seen.advice = Advice { on: Some(name), memory_mib: seen.advice.memory_mib, ..Advice::default() };
        seen.held = None;
        let tasks = self.home_tasks();
        let decision =
            self.decide(tasks, |balancer, home, bulletin, rng| balancer.place(home, bulletin, &seen, rng));
        let why = decision.as_ref().map_or_else(String::new, |decision| decision.why.to_string());
        let goes = decision.is_some_and(|decision| self.carry_out(decision, Occasion::Wish));
        if !goes {
            refuse(self, format!("{node} cannot take it: {why}"));
        }
    }

    fn offer(&self, offer: Offer, key: JobKey) -> Question {
        let user = self.jobs.get(&key).map_or_else(String::new, |tracked| user_name(tracked.uid));
        Question::Offer { offer, user }
    }

    fn ask(&self, asked: Asked, question: Question) {
        let (endpoint, agent) = (self.endpoint.clone(), self.happenings.clone());
        let Some(member) = self.cluster.member(&asked.node).cloned() else {
            // It went down in this moment.
            let gone = Happening::Offered(asked, Err("it is no member".into()));
            tokio::spawn(async move { agent.send(gone).await });
            return;
        };
        let name = asked.node.to_string();
        tokio::spawn(async move {
            let answer = peers::ask(endpoint, name, member.addr, question, peers::OFFER_TIMEOUT).await;
            // The agent ends before its questions are answered.
            let _ = agent.send(Happening::Offered(asked, answer)).await;
        });
    }

    /// A node's answer to an offer.
    pub(super) fn on_offered(&mut self, asked: Asked, answer: Result<Answer, String>) {
        let now = self.now();
        let (node, job) = (asked.node.clone(), asked.key.1 as u64);
        let bulletin = self.cluster.bulletin_mut();
        bulletin.discharge(&node, job);
        match answer {
            Ok(Answer::Accepted { port, record }) => {
                if let Some(record) = record.read(node.as_str()) {
                    bulletin.learn(now, record, Duration::ZERO);
                }
                self.ports.insert(node, port);
                self.on_accepted(asked);
            }
            Ok(Answer::Refused { reason, record }) => {
                if let Some(record) = record.read(node.as_str()) {
                    bulletin.learn(now, record, Duration::ZERO);
                }
                if reason == Refusal::Unwelcome
                    && let Some(tracked) = self.jobs.get_mut(&asked.key)
                {
                    tracked.shun(node.clone(), now);
                }
                self.on_refused(asked, &format!("{node} {reason}"), true);
            }
            Ok(Answer::Goes(_) | Answer::Taken) => {
                self.on_refused(asked, &format!("{node} talks nonsense"), false)
            }
            Err(why) => {
                // Not to be chosen before it speaks again.
                bulletin.forget(&node);
                self.on_refused(asked, &format!("{node}: {why}"), false);
            }
        }
    }

    fn on_accepted(&mut self, asked: Asked) {
        match asked.occasion {
            Occasion::Exec(_) => self.answer_place(asked.key, Some(&asked.node), asked.why),
            Occasion::Gain | Occasion::Leaves | Occasion::Wish => {
                self.order_move(asked.key, Some(&asked.node), asked.why);
            }
        }
    }

    /// `again`: the refusal came with news, so that another decision may be another.
    fn on_refused(&mut self, asked: Asked, why: &str, again: bool) {
        match asked.occasion {
            Occasion::Exec(before) if again && before + 1 < MAX_ASKED => {
                self.place_held(asked.key, before + 1)
            }
            Occasion::Exec(_) => self.answer_place(asked.key, None, format!("stays: {why}")),
            Occasion::Gain | Occasion::Leaves | Occasion::Wish => {
                let Some(tracked) = self.jobs.get_mut(&asked.key) else { return };
                tracked.moving = None;
                tracked.why = format!("was to go to {}, but {why}", asked.node);
                if asked.occasion == Occasion::Leaves {
                    let from = tracked.job.place.clone();
                    self.order_move(asked.key, None, format!("from {from} to home: {why}"));
                } else if asked.occasion == Occasion::Wish {
                    self.reply(asked.key.0, Reply::Refused { pid: asked.key.1, why: why.to_owned() });
                }
            }
        }
    }

    /// Lets go a process that is held at its exec.
    fn answer_place(&mut self, key: JobKey, node: Option<&Name>, why: String) {
        let now = self.now();
        let to = node.and_then(|node| self.target(node));
        let Some(tracked) = self.jobs.get_mut(&key) else { return };
        tracked.placing = false;
        tracked.why.clone_from(&why);
        match node.filter(|_| to.is_some()) {
            Some(node) => {
                tracked.job.place = node.to_string();
                let fields: [crate::log::Field<'_>; 4] =
                    [("pid", &key.1), ("program", &tracked.job.program), ("to", node), ("why", &why)];
                self.journal.note_of(tracked.uid, "placed", &fields);
            }
            None => {
                tracked.job.place = "home".into();
                tracked.starts_at_home(now);
            }
        }
        self.reply(key.0, Reply::Place { pid: key.1, to: to.unwrap_or(Target::Home), why });
    }

    /// Tells a supervisor to move a process. False if there is none, or the node is gone.
    fn order_move(&mut self, key: JobKey, node: Option<&Name>, why: String) -> bool {
        let to = match node.map(|node| self.target(node)) {
            Some(None) => return false,
            Some(Some(to)) => to,
            None => Target::Home,
        };
        let now = self.now();
        let Some(tracked) = self.jobs.get_mut(&key) else { return false };
        let place = node.map_or(Place::Home, |node| Place::Node(node.clone()));
        tracked.why.clone_from(&why);
        let fields: [crate::log::Field<'_>; 4] =
            [("pid", &key.1), ("program", &tracked.job.program), ("to", &place), ("why", &why)];
        self.journal.note_of(tracked.uid, "moves", &fields);
        tracked.moving = Some((place, now));
        self.reply(key.0, Reply::Move { pid: key.1, to, why });
        true
    }

    fn target(&self, node: &Name) -> Option<Target> {
        let member = self.cluster.member(node)?;
        let port = self.ports.get(node).copied().unwrap_or(self.session_port);
        Some(Target::Node { name: node.to_string(), address: Agent::session_address(member, port) })
    }

    /// A supervisor has moved a process, or could not.
    pub(super) fn on_moved(&mut self, client: u64, pid: i32, to: String, failed: Option<String>) {
        let now = self.now();
        let Some(tracked) = self.jobs.get_mut(&(client, pid)) else { return };
        let uid = tracked.uid;
        tracked.moved(now, to.clone(), failed.is_some());
        if let Some(why) = failed {
            tracked.why = format!("its move failed: {why}");
            self.journal.note_of(uid, "move-failed", &[("pid", &pid), ("place", &to), ("why", &why)]);
        } else {
            self.journal.note_of(uid, "moved", &[("pid", &pid), ("place", &to)]);
        }
        self.tell_waiting();
    }

    /// A node wants a process of this home gone. Whether it goes.
    pub(super) fn on_evict(&mut self, node: &Name, job: u64, because: Leaving) -> bool {
        let there = Place::Node(node.clone());
        let key = self.keys_of(job as i32).into_iter().find(|key| {
            self.jobs.get(key).is_some_and(|tracked| place(&tracked.job.place).as_ref() == Some(&there))
        });
        let Some(key) = key else { return false };
        let Some(tracked) = self.jobs.get(&key) else { return false };
        if tracked.moving.is_some() {
            return true;
        }
        let seen = tracked.seen(self.now(), self.said.stay);
        let eviction = Eviction { home: self.own.name.clone(), job, because };
        let tasks = self.home_tasks();
        let decision = self.decide(tasks, |balancer, home, bulletin, rng| {
            balancer.rehouse(home, bulletin, &seen, &eviction, rng)
        });
        match decision {
            Some(decision) if decision.place != there => {
                let occasion = if because == Leaving::Crowded { Occasion::Gain } else { Occasion::Leaves };
                self.carry_out(decision, occasion)
            }
            _ => false,
        }
    }

    /// The owner wants all processes here.
    pub(super) fn bring_all(&mut self) {
        let away: Vec<JobKey> = self
            .jobs
            .iter()
            .filter(|(_, tracked)| tracked.job.place != "home")
            // One that moves is told when it has arrived.
            .filter(|(_, tracked)| tracked.moving.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in away {
            self.order_move(key, None, "to home: its owner brings all processes home (mosix bring)".into());
        }
    }

    /// What would be decided about a process now.
    pub(super) fn explain(&mut self, key: JobKey) -> Option<Why> {
        let seen = self.jobs.get(&key)?.seen(self.now(), self.said.stay);
        let tasks = self.home_tasks();
        self.decide(tasks, |balancer, home, bulletin, rng| balancer.explain(home, bulletin, &seen, rng))
    }
}
