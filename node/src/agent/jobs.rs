//! This machine's processes, as their supervisors report them.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::Name;
use cluster::placement::{self, Kind, Place, Run};
use wire::local;

use super::{Agent, JobKey};

/// Calls are counted over so much CPU time before their rate says something, in seconds.
const RATE_CPU_S: f64 = 0.2;
/// The same of a whole run, when it is over.
const RUN_CPU_S: f64 = 0.01;
/// The latest interval counts by so much.
const RATE_NEWEST: f64 = 0.5;
/// A supervisor that has not said what became of a move in this time will not.
const MOVE_TIMEOUT: Duration = Duration::from_secs(60);
/// After a move that failed a process is left alone for so long.
const FAILED_REST: Duration = Duration::from_secs(3);
/// A process that has used so little in that time waits. On a node it is told of once a second.
const WAITS_CPU_S: f64 = 0.01;
const WAITS_AFTER: Duration = Duration::from_secs(2);
/// A node whose policy is against a process is not asked again for so long.
const SHUN: Duration = Duration::from_secs(60);
/// A process that was let go at home and has not run since is looked for, for so long.
const STARTING: Duration = Duration::from_secs(2);

/// A process of this home.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) uid: u32,
    pub(super) job: local::Job,
    pub(super) advice: placement::Advice,
    pub(super) locked: bool,
    /// Moves by the balancer's choice.
    pub(super) moves: u32,
    /// It is held at its exec until this is decided.
    pub(super) placing: bool,
    /// It was told to go there, at that time.
    pub(super) moving: Option<(Place, Duration)>,
    /// The last decision, in one line.
    pub(super) why: String,
    /// CPU seconds of a core of speed 1, since its exec.
    ran_s: f64,
    most_mib: u32,
    since: Duration,
    calls: Calls,
    /// Reads and writes at home, which are the least that it would have forwarded.
    at_home: Calls,
    /// When it had last used CPU time, and how much by then.
    computed: Option<(Duration, f64)>,
    rests_until: Duration,
    /// Nodes that do not want it, and until when they are not asked again.
    shunned: Vec<(Name, Duration)>,
    /// When it was let go at home.
    started: Option<Duration>,
}

/// Calls per CPU second.
#[derive(Debug, Default)]
struct Calls {
    rate: Option<f64>,
    /// CPU seconds and calls when counting began.
    from: Option<(f64, u64)>,
}

impl Calls {
    /// Of reads and writes from now on.
    fn from(job: &local::Job) -> Calls {
        Calls { rate: None, from: job.reads_writes.map(|count| (job.cpu_s, count)) }
    }

    fn take(&mut self, cpu_s: f64, calls: Option<u64>) {
        let (Some(calls), Some((from_s, from))) = (calls, self.from) else {
            self.from = calls.map(|calls| (cpu_s, calls));
            return;
        };
        if calls < from || cpu_s < from_s {
            self.from = Some((cpu_s, calls));
        } else if cpu_s - from_s >= RATE_CPU_S {
            let rate = (calls - from) as f64 / (cpu_s - from_s);
            self.rate = Some(self.rate.map_or(rate, |old| old + RATE_NEWEST * (rate - old)));
            self.from = Some((cpu_s, calls));
        }
    }

    /// Of a run that was too short for a rate.
    fn of_a_short_run(&self, cpu_s: f64, calls: Option<u64>) -> Option<f64> {
        let (from_s, from) = self.from?;
        let cpu_s = cpu_s - from_s;
        Some(calls?.checked_sub(from)? as f64 / cpu_s).filter(|_| cpu_s >= RUN_CPU_S)
    }
}

/// Where a job says that it is. None: on a node that was named by its address, which is no name here.
pub(super) fn place(text: &str) -> Option<Place> {
    if text == "home" { Some(Place::Home) } else { Name::new(text).ok().map(Place::Node) }
}

impl Tracked {
    pub(super) fn new(uid: u32, job: local::Job, advice: placement::Advice, now: Duration) -> Tracked {
        let since = now.saturating_sub(seconds(job.here_s));
        Tracked {
            uid,
            most_mib: job.memory_mib,
            at_home: Calls::from(&job),
            job,
            advice,
            locked: false,
            moves: 0,
            placing: false,
            moving: None,
            why: "not decided about yet".into(),
            ran_s: 0.0,
            since,
            calls: Calls::default(),
            computed: None,
            rests_until: Duration::ZERO,
            shunned: Vec::new(),
            started: None,
        }
    }

    /// It runs another program now.
    pub(super) fn exec(&mut self, job: local::Job) {
        self.job = job;
        self.most_mib = self.job.memory_mib;
        self.ran_s = 0.0;
        self.calls = Calls::default();
        self.calls.take(self.job.cpu_s, self.job.calls);
        // Counted from here on, the program is known for what it is when it may first be moved.
        self.at_home = Calls::from(&self.job);
        self.computed = None;
        self.moves = 0;
        self.moving = None;
    }

    /// Takes what its supervisor says of it. `speed` is that of a core where it is.
    fn update(&mut self, now: Duration, job: local::Job, speed: f64) {
        self.ran_s += (job.cpu_s - self.job.cpu_s).max(0.0) * speed;
        self.calls.take(job.cpu_s, job.calls);
        self.at_home.take(job.cpu_s, job.reads_writes);
        let before = self.computed.map_or(0.0, |(_, cpu_s)| cpu_s);
        if self.ran_s - before >= WAITS_CPU_S {
            self.computed = Some((now, self.ran_s));
        }
        self.most_mib = self.most_mib.max(job.memory_mib);
        self.since = now.saturating_sub(seconds(job.here_s));
        if self.moving.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) > MOVE_TIMEOUT) {
            self.moving = None;
        }
        self.job = job;
    }

    /// A move has ended.
    pub(super) fn moved(&mut self, now: Duration, to: String, failed: bool) {
        self.moving = None;
        if failed {
            self.rests_until = now + FAILED_REST;
        } else {
            self.moves = self.moves.saturating_add(1);
            self.since = now;
        }
        self.job.place = to;
    }

    /// A node's policy is against it.
    pub(super) fn shun(&mut self, node: Name, now: Duration) {
        self.shunned.retain(|(other, until)| *other != node && *until > now);
        self.shunned.push((node, now + SHUN));
    }

    /// It is not at home, or about to leave it.
    pub(super) fn is_away(&self) -> bool {
        self.job.place != "home" || matches!(self.moving, Some((Place::Node(_), _)))
    }

    /// It was let go at home.
    pub(super) fn starts_at_home(&mut self, now: Duration) {
        self.started = Some(now);
    }

    /// It was let go at home and has not run yet, so that no count of runnable tasks shows it.
    pub(super) fn is_starting(&self, now: Duration) -> bool {
        self.started.is_some_and(|at| now.saturating_sub(at) < STARTING)
            && crate::probe::is_traced_and_stopped(self.job.pid)
    }

    /// As the balancer has it.
    pub(super) fn seen(&self, now: Duration, stay: bool) -> placement::Job {
        let at = place(&self.job.place);
        let held = if at.is_none() {
            Some("it is on a node that was named by its address")
        } else if self.moving.is_some() {
            Some("it is moving")
        } else if self.job.stay.is_some() {
            Some("the system holds it here")
        } else if self.rests_until > now {
            Some("its last move failed")
        } else if stay && at == Some(Place::Home) && !(self.placing && self.advice.on.is_some()) {
            // Who begins a program on a node says so himself; once it was brought home it does not leave again.
            Some("this home keeps its processes (mosix stay)")
        } else {
            None
        };
        let shunned = self.shunned.iter().filter(|(_, until)| *until > now).map(|(node, _)| node);
        placement::Job {
            id: self.job.pid as u64,
            program: self.job.program.clone(),
            place: at.unwrap_or(Place::Home),
            ran_s: self.ran_s,
            calls_per_s: self.calls_per_s(),
            memory_mib: self.job.memory_mib,
            since: self.since,
            moves: self.moves,
            waits: self.computed.is_none_or(|(at, _)| now.saturating_sub(at) > WAITS_AFTER),
            held,
            advice: placement::Advice {
                no_migrate: self.advice.no_migrate || self.locked,
                exclude: self.advice.exclude.iter().chain(shunned).cloned().collect(),
                ..self.advice.clone()
            },
        }
    }

    /// Calls that are or would be forwarded, per CPU second, as far as they were counted. At home the kernel counts some of
    /// them, and what was counted away still holds.
    fn calls_per_s(&self) -> Option<f64> {
        self.calls.rate.into_iter().chain(self.at_home.rate).reduce(f64::max)
    }

    /// What this run came to, with the past's rate of calls where none was measured.
    fn run(&self, past: Option<Run>) -> Run {
        let short = || self.calls.of_a_short_run(self.job.cpu_s, self.job.calls);
        let calls_per_s =
            self.calls_per_s().or_else(short).or(past.map(|run| run.calls_per_s)).unwrap_or(0.0);
        Run { cpu_s: self.ran_s, calls_per_s, memory_mib: self.most_mib.into() }
    }
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

/// What a user asked for, if the names in it can be some.
pub(super) fn advice(given: &local::Advice) -> anyhow::Result<placement::Advice> {
    let names = |given: &[String]| {
        given.iter().map(|name| super::members::node_name(name)).collect::<anyhow::Result<Vec<Name>>>()
    };
    // What is named by its address needs no daemon's advice, and gets none.
    let by_name = given.on.as_deref().filter(|on| !on.contains(':'));
    Ok(placement::Advice {
        no_migrate: given.no_migrate,
        on: by_name.map(super::members::node_name).transpose()?,
        nodes: names(&given.nodes)?,
        exclude: names(&given.exclude)?,
        labels: names(&given.labels)?,
        kind: match (given.cpu_job, given.io_job) {
            (true, _) => Kind::Cpu,
            (_, true) => Kind::Io,
            _ => Kind::Unknown,
        },
        memory_mib: given.memory_mib,
    })
}

impl Agent {
    /// Speed of a core at a place.
    fn speed_at(&self, at: &str) -> f64 {
        let own = || self.cluster.load().map(|load| f64::from(load.sample().speed_milli) / 1e3);
        let there = match place(at) {
            Some(Place::Node(name)) => self.cluster.bulletin().get(&name).map(|known| known.record.speed()),
            _ => own(),
        };
        there.unwrap_or(1.0)
    }

    /// What a supervisor says of all its processes.
    pub(super) fn on_jobs(&mut self, client: u64, jobs: Vec<local::Job>) {
        let now = self.now();
        let Some((uid, advice)) = self.of_supervisor(client) else { return };
        let listed: BTreeSet<i32> = jobs.iter().map(|job| job.pid).collect();
        // One that is being placed is not among the running ones yet.
        self.jobs.retain(|(of, pid), job| *of != client || listed.contains(pid) || job.placing);
        for job in jobs {
            let speed = self.speed_at(&job.place);
            self.jobs
                .entry((client, job.pid))
                .or_insert_with(|| Tracked::new(uid, job.clone(), advice.clone(), now))
                .update(now, job, speed);
        }
        self.tell_waiting();
    }

    /// The owner and the wishes of a supervisor's processes.
    pub(super) fn of_supervisor(&self, client: u64) -> Option<(u32, placement::Advice)> {
        let connection = self.connections.get(&client)?;
        Some((connection.client.uid, connection.supervisor.clone()?))
    }

    /// A process has ended.
    pub(super) fn on_ended(&mut self, key: JobKey, job: local::Job) {
        let (now, speed) = (self.now(), self.speed_at(&job.place));
        if let Some(mut tracked) = self.jobs.remove(&key) {
            tracked.update(now, job, speed);
            let past = self.balancer.history.expect(&tracked.job.program);
            self.balancer.history.ended(&tracked.job.program, tracked.run(past));
        }
        self.tell_waiting();
    }

    /// The processes that `pid` is, of whatever supervisor: one, unless pid namespaces differ.
    pub(super) fn keys_of(&self, pid: i32) -> Vec<JobKey> {
        self.jobs.keys().filter(|key| key.1 == pid).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(cpu_s: f64, calls: Option<u64>) -> local::Job {
        local::Job {
            pid: 7,
            program: "/bin/x".into(),
            place: if calls.is_some() { "b".into() } else { "home".into() },
            cpu_s,
            calls,
            reads_writes: None,
            memory_mib: 10,
            here_s: 1.0,
            stay: None,
        }
    }

    fn tracked() -> Tracked {
        Tracked::new(0, job(0.0, None), placement::Advice::default(), Duration::from_secs(5))
    }

    #[test]
    fn calls_are_counted_per_cpu_second_once_there_is_enough() {
        let (mut tracked, now) = (tracked(), Duration::from_secs(6));
        tracked.update(now, job(1.0, Some(100)), 1.0);
        tracked.update(now, job(1.1, Some(150)), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, None);
        tracked.update(now, job(1.5, Some(600)), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(1000.0));
        // Home again: what was known is still the best guess.
        tracked.update(now, job(9.0, None), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(1000.0));
        // Counted anew after that.
        tracked.update(now, job(9.0, Some(600)), 1.0);
        tracked.update(now, job(10.0, Some(1600)), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(1000.0));
    }

    #[test]
    fn reads_and_writes_at_home_are_the_least_that_would_be_forwarded() {
        let (mut tracked, now) = (tracked(), Duration::from_secs(6));
        let reads = |cpu_s, count| local::Job { reads_writes: Some(count), ..job(cpu_s, None) };
        tracked.update(now, reads(1.0, 5_000), 1.0);
        tracked.update(now, reads(1.5, 15_000), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(20_000.0));
        assert_eq!(tracked.run(None).calls_per_s, 20_000.0, "its program is known by it");
        // Away there are others too.
        tracked.update(now, job(1.5, Some(0)), 1.0);
        tracked.update(now, job(2.0, Some(15_000)), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(30_000.0));
        // What it did away it may have counted there.
        tracked.update(now, reads(2.0, 30_000), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, Some(30_000.0));
    }

    #[test]
    fn calls_of_a_short_run_are_counted_from_its_exec() {
        let (mut tracked, now) = (tracked(), Duration::from_secs(6));
        tracked.exec(job(0.01, Some(500)));
        tracked.update(now, job(0.11, Some(900)), 1.0);
        assert_eq!(tracked.seen(now, false).calls_per_s, None);
        assert_eq!(tracked.run(None).calls_per_s.round(), 4000.0);
        // Too short even for that, or at home: the past's.
        let past = Some(Run { calls_per_s: 7.0, ..Run::default() });
        tracked.exec(job(0.11, Some(900)));
        tracked.update(now, job(0.115, Some(1900)), 1.0);
        assert_eq!(tracked.run(past).calls_per_s, 7.0);
        tracked.exec(job(0.115, Some(1900)));
        tracked.update(now, job(0.5, None), 1.0);
        assert_eq!(tracked.run(past).calls_per_s, 7.0);
    }

    #[test]
    fn what_uses_no_time_waits() {
        let (mut tracked, at) = (tracked(), Duration::from_secs);
        tracked.update(at(6), job(0.001, None), 1.0);
        assert!(tracked.seen(at(6), false).waits, "a shell");
        tracked.update(at(7), job(0.5, None), 1.0);
        assert!(!tracked.seen(at(7), false).waits);
        tracked.update(at(9), job(0.505, None), 1.0);
        assert!(!tracked.seen(at(9), false).waits);
        tracked.update(at(10), job(0.508, None), 1.0);
        assert!(tracked.seen(at(10), false).waits);
    }

    #[test]
    fn work_is_time_by_speed_and_starts_again_with_a_program() {
        let (mut tracked, now) = (tracked(), Duration::from_secs(6));
        tracked.update(now, job(2.0, None), 0.5);
        tracked.update(now, job(3.0, Some(1)), 2.0);
        assert_eq!(tracked.run(None).cpu_s, 3.0);
        tracked.exec(job(3.5, None));
        tracked.update(now, job(4.0, None), 1.0);
        assert_eq!(tracked.run(None), Run { cpu_s: 0.5, calls_per_s: 0.0, memory_mib: 10.0 });
    }

    #[test]
    fn what_holds_a_process_is_said() {
        let (mut tracked, now) = (tracked(), Duration::from_secs(6));
        assert_eq!(tracked.seen(now, false).held, None);
        assert!(tracked.seen(now, true).held.is_some_and(|why| why.contains("mosix stay")));
        tracked.advice.on = Name::new("b").ok();
        assert!(tracked.seen(now, true).held.is_some_and(|why| why.contains("mosix stay")));
        tracked.placing = true;
        assert_eq!(tracked.seen(now, true).held, None);
        tracked.moved(now, "home".into(), true);
        assert_eq!(tracked.seen(now, false).held, Some("its last move failed"));
        assert_eq!(tracked.seen(now + FAILED_REST, false).held, None);
        tracked.moved(now, "10.0.0.2:7413".into(), false);
        assert!(tracked.seen(now + FAILED_REST, false).held.is_some_and(|why| why.contains("address")));
        tracked.locked = true;
        assert!(tracked.seen(now, false).advice.no_migrate);
    }

    #[test]
    fn a_node_that_does_not_want_it_is_left_alone_for_a_minute() {
        let (mut tracked, now, b) = (tracked(), Duration::from_secs(6), Name::new("b").unwrap());
        tracked.shun(b.clone(), now);
        tracked.shun(b.clone(), now);
        assert_eq!(tracked.seen(now, false).advice.exclude, [b]);
        assert_eq!(tracked.seen(now + SHUN, false).advice.exclude, []);
    }

    #[test]
    fn names_in_advice_are_names() {
        let given =
            local::Advice { on: Some("10.0.0.2:7413".into()), io_job: true, ..local::Advice::default() };
        let taken = advice(&given).unwrap();
        assert_eq!((taken.on, taken.kind), (None, Kind::Io));
        assert!(advice(&local::Advice { nodes: vec!["a b".into()], ..local::Advice::default() }).is_err());
    }
}
