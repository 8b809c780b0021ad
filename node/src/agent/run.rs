//! The agent's loop.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use cluster::placement::Balancer;
use cluster::{Cluster, Input, Name, Own};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sd_notify::NotifyState;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};
use wire::Identity;
use wire::identity::RevokedFile;
use wire::peer::{Endpoint, Event, Events};

use super::socket::{Socket, serve};
use super::{Agent, Happening, Said, discovery, members, peers};
use crate::config::{Arguments, Config, Discovery};
use crate::limits::Limits;
use crate::log;
use crate::probe::{self, Probe};
use crate::state::State;
use crate::talk::{End, Taken, ToAgent, ToServer};

/// How often load is measured; the record that says it travels as often.
const SAMPLE_PERIOD: Duration = Duration::from_millis(500);
/// How often processes are looked at.
const ROUND_PERIOD: Duration = Duration::from_secs(1);
/// How often what outlives the daemon is written.
const SAVE_PERIOD: Duration = Duration::from_secs(60);
/// Happenings that wait; who has more to say waits too.
const MAX_HAPPENINGS: usize = 1024;
/// Messages of the session server taken in a row.
const BATCH: usize = 64;
/// How long goodbyes to other daemons may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long the session server may take to end its sessions.
const SERVER_END: Duration = Duration::from_secs(5);

/// All that the agent begins with.
pub(crate) struct Start {
    pub(crate) arguments: Arguments,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    /// The other end is the session server's.
    pub(crate) end: End,
    pub(crate) server: i32,
    /// Where sessions are accepted.
    pub(crate) sessions: SocketAddr,
    pub(crate) limits: Limits,
}

/// Where things come from.
struct Sources {
    socket: Socket,
    happened: mpsc::Receiver<Happening>,
    peers: Events,
    server: Server,
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// When things are due.
struct Due {
    sample: Instant,
    round: Instant,
    save: Instant,
}

/// Serves until a signal ends it.
pub(crate) fn run(start: Start) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the agent's runtime")?;
    let ended = runtime.block_on(async {
        let (mut agent, mut sources, config) = open(start).await?;
        let ended = agent.work(&mut sources, &config).await;
        agent.save();
        ended
    });
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
    ended
}

async fn open(start: Start) -> Result<(Agent, Sources, Config)> {
    let Start { arguments, config, identity, end, server, sessions, limits } = start;
    let state = State::open(&config.state).with_context(|| {
        format!("cannot use {} for what is to be kept (see --state)", config.state.display())
    })?;
    let revoked = RevokedFile::open(&config.identity, &identity)?;
    let (endpoint, peers) = Endpoint::bind(config.peer_listen, &identity, revoked.revoked().clone())
        .with_context(|| {
            format!("cannot listen for other daemons at {} (see --peer-listen)", config.peer_listen)
        })?;
    let socket = Socket::open(&config.socket)?;
    let (happenings, happened) = mpsc::channel(MAX_HAPPENINGS);
    let seeds = members::resolve_seeds(&config.seeds).await;
    let address = members::own_address(&config, &endpoint, &seeds)?;
    let peer_name = identity.name().clone();
    let name = Name::new(&peer_name.name).context("the name in this node's certificate")?;
    let features = probe::features();
    let own = Own::new(name, features, config.labels.iter().cloned());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let incarnation = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    // Random keys make random hashes; nothing secret hangs on them.
    let seed = RandomState::new().hash_one(incarnation);
    let began = Instant::now();
    let cluster = Cluster::new(Duration::ZERO, own.clone(), address, incarnation, seed);
    let balancer = Balancer { history: state.history(), ..Balancer::default() };
    let speed = probe::measure_speed(state.dir());
    let mut agent = Agent {
        began,
        arguments,
        identity_dir: config.identity.clone(),
        identity,
        own,
        features,
        session_port: sessions.port(),
        cluster,
        balancer,
        policy: config.policy.clone(),
        limits,
        said: Said::default(),
        probe: Probe::new(speed),
        server,
        sessions: Default::default(),
        coming: Vec::new(),
        arrivals: 0,
        doors: None,
        connections: Default::default(),
        jobs: Default::default(),
        waiting: Vec::new(),
        told_distances: Default::default(),
        ports: Default::default(),
        revoked,
        seeds,
        found: Vec::new(),
        state,
        journal: Default::default(),
        endpoint,
        happenings,
        orders: Vec::new(),
        rng: SmallRng::seed_from_u64(seed.rotate_left(32)),
    };
    agent.measure();
    // Places to ask, and no more: who began anew meanwhile has another identity, which it says itself.
    agent.found.extend(agent.state.members().iter().map(|member| member.addr).take(members::MAX_FOUND));
    agent.tell_seeds();
    agent.tend_doors();
    let sources = Sources {
        socket,
        happened,
        peers,
        server: Server::watch(end).context("cannot watch the session server")?,
        hang_up: signal(SignalKind::hangup())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    log::info(
        "listens",
        &[
            ("node", &peer_name.name),
            ("cluster", &peer_name.cluster),
            ("sessions", &sessions),
            ("peers", &address),
            ("socket", &config.socket.display()),
            ("speed", &(f64::from(speed) / 1e3)),
        ],
    );
    agent.say_limits(config.rank);
    Ok((agent, sources, config))
}

impl Agent {
    async fn work(&mut self, sources: &mut Sources, config: &Config) -> Result<()> {
        let responder = (config.discovery == Discovery::Mdns).then(|| {
            let name = self.identity.name();
            discovery::start(&name.cluster, &name.name, self.cluster.id().addr, self.happenings.clone())
        });
        if let Some(Err(error)) = &responder {
            log::warn("no-discovery", &[("why", error)]);
        }
        // Without a service manager nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let now = Instant::now();
        let mut due = Due { sample: now + SAMPLE_PERIOD, round: now + ROUND_PERIOD, save: now + SAVE_PERIOD };
        loop {
            if self.turn(sources, &mut due).await? {
                break;
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        self.send_guests_home(sources, &mut due, config.grace).await?;
        self.end(sources).await
    }

    /// One thing that happens, and what follows from it. True: a signal says that it is time to end.
    async fn turn(&mut self, sources: &mut Sources, due: &mut Due) -> Result<bool> {
        let wake = [due.sample, due.round, due.save].into_iter().min().unwrap_or(due.sample);
        let tick = self.cluster.deadline().map(|at| self.began + at);
        let wake = tick.map_or(wake, |tick| tick.min(wake));
        let timer = pin!(sleep_until(TokioInstant::from_std(wake)));
        let mut ends = false;
        tokio::select! {
            // The session server's word comes first: what a guest is charged for and whether it is here must agree.
            biased;
            heard = sources.server.hear() => heard?.into_iter().for_each(|message| self.on_session(message)),
            _ = sources.terminate.recv() => ends = true,
            _ = sources.interrupt.recv() => ends = true,
            _ = sources.hang_up.recv() => self.reload(),
            () = timer => self.on_time(due),
            Some(event) = sources.peers.recv() => self.on_peer(event),
            Some(happening) = sources.happened.recv() => self.on_happening(happening),
            accepted = sources.socket.accept() => match accepted {
                Ok((stream, client)) => {
                    tokio::spawn(serve(stream, client, self.happenings.clone()));
                }
                Err(error) => self.on_accept_error(&error).await,
            },
        }
        for order in self.orders.drain(..) {
            sources.server.send(&order);
        }
        Ok(ends)
    }

    async fn on_accept_error(&mut self, error: &io::Error) {
        log::warn("client-not-taken", &[("why", error)]);
        // Out of descriptors, most likely: whoever has one may close it meanwhile.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fn on_time(&mut self, due: &mut Due) {
        let now = Instant::now();
        self.input(Input::Tick);
        if now >= due.sample {
            due.sample = now + SAMPLE_PERIOD;
            self.measure();
        }
        if now >= due.round {
            due.round = now + ROUND_PERIOD;
            self.round();
        }
        if now >= due.save {
            due.save = now + SAVE_PERIOD;
            self.save();
        }
    }

    fn on_peer(&mut self, event: Event) {
        match event {
            Event::Datagram { from, address, payload } => self.on_datagram(&from, address, &payload),
            Event::Question { from, question, answer, .. } => {
                if let Some(reply) = self.on_question(&from, &question) {
                    answer.send(peers::encode(&reply));
                }
            }
            Event::Enrol { address, request, answer } => self.on_enrol(address, &request, answer),
            Event::Refused { address, why } => {
                log::warn("peer-refused", &[("address", &address), ("why", &why)])
            }
        }
    }

    fn on_happening(&mut self, happening: Happening) {
        match happening {
            Happening::Client(client, replies) => self.on_client(client, replies),
            Happening::Request(client, request) => self.on_request(client, request),
            Happening::Nonsense(client, why) => self.on_nonsense(client, &why),
            Happening::Gone(client) => self.on_client_gone(client),
            Happening::Offered(asked, answer) => self.on_offered(asked, answer),
            Happening::Evicted { session, pid, answer } => self.on_evicted(session, pid, answer),
            Happening::Found(address) => self.on_found(address),
        }
    }

    /// Guests leave; the daemon stays until they have, the time is over, or a second signal comes.
    async fn send_guests_home(
        &mut self,
        sources: &mut Sources,
        due: &mut Due,
        grace: Duration,
    ) -> Result<()> {
        self.said.stopping = true;
        self.policy.claimed = true;
        let seconds = grace.as_secs();
        self.journal.note("stops", &[("guests", &self.guest_count()), ("grace-s", &seconds)]);
        self.measure();
        self.tend_doors();
        self.relieve();
        let until = Instant::now() + grace;
        while self.guest_count() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.turn(sources, due)).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        if self.guest_count() > 0 {
            log::warn("guests-lost", &[("guests", &self.guest_count())]);
        }
        Ok(())
    }

    async fn end(&mut self, sources: &mut Sources) -> Result<()> {
        self.input(Input::Leave);
        sources.server.send(&ToServer::Stop);
        let server = async {
            // It ends when its sessions have, which is an error to hear.
            while sources.server.hear().await.is_ok() {}
        };
        // What does not end by then is killed with this process.
        let _ = tokio::time::timeout(SERVER_END, server).await;
        // Datagrams are on their way by now; a close may overtake those that are not.
        self.endpoint.close();
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.idle()).await;
        Ok(())
    }
}

/// The session server, as the runtime sees it.
struct Server {
    end: End,
    /// The same socket, to be woken by: the runtime has no type for SOCK_SEQPACKET, but sees no difference to a datagram's.
    watch: UnixDatagram,
}

impl Server {
    fn watch(end: End) -> io::Result<Server> {
        let socket = std::os::unix::net::UnixDatagram::from(end.as_fd().try_clone_to_owned()?);
        Ok(Server { watch: UnixDatagram::from_std(socket)?, end })
    }

    fn send(&mut self, order: &ToServer) {
        self.end.send(order);
    }

    /// What it says next. An error when it is gone: there is no daemon without it.
    async fn hear(&mut self) -> Result<Vec<ToAgent>> {
        loop {
            let writing = self.end.wants_write();
            let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = self.watch.ready(interest).await?;
            if ready.is_writable() && writing {
                let end = &mut self.end;
                // An error is only that there is still no room, and clears the readiness.
                let _ = self.watch.try_io(Interest::WRITABLE, || {
                    end.flush();
                    if end.wants_write() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                });
            }
            let mut heard = Vec::new();
            while heard.len() < BATCH {
                let end = &mut self.end;
                let taken = self.watch.try_io(Interest::READABLE, || match end.take() {
                    Taken::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                    Taken::Message(message) => Ok(Some(message)),
                    Taken::Gone => Ok(None),
                });
                match taken {
                    Ok(Some(message)) => heard.push(message),
                    Ok(None) if heard.is_empty() => {
                        bail!("the session server has ended; see the lines before")
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
    }
}
