//! The service: opens what it keeps, starts its threads and tasks, stops them in order.
//!
//! ```text
//! broker ─► subscriber ─► inbox ─► receiver thread ─► log ─► store writer thread ─► store
//!    ▲                                  │ acks          └──► evaluator thread ─► state database ─► API streams
//!    └── publisher ◄── outbox ◄─────────┘
//! ```
//!
//! Called by `main`. A stop takes no more messages, commits what came, lets the cursors write what they hold, then closes
//! streams and HTTP. A kill at any instant is as safe.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::{self, Api};
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::{self, Announcer, CatalogueEngines, Centre, Cursor};
use crate::log::writer::{Told, Writer};
use crate::receive::mqtt::profile::Profile;
use crate::receive::mqtt::{self, Sessions, UNACKED_MAX};
use crate::receive::worker::{Outgoing, ToWorker, Worker};
use crate::selfwatch::Watched;
use crate::shutdown::{self, Shutdown};

mod check;
mod desk;
mod error;
mod facts;
mod lock;
mod open;
mod page;
mod ready;
mod selfwatch;
mod store;
mod watch;

pub use check::{check, check_broker};
pub use error::RunError;
pub use lock::Lock;
pub use open::{Paths, begin, catalogue, gateway_snippet};
pub use store::{ask as ask_store, influx_options};

use open::Opened;

/// Acks that may wait for the broker.
const OUTBOX_MAX: usize = 4_096;
/// How often values that changed go to the streams: soon enough to look live, seldom enough to bundle them.
const FLUSH: Duration = Duration::from_millis(100);
/// Stack of our threads: decoding recurses nowhere.
const STACK_BYTES: usize = 2 << 20;

/// A runtime for the network and the state database.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("davy-net")
        .build()
        .map_err(RunError::Runtime)
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`]: what could not be opened at start, or what broke while running.
pub fn until_signal(config: Config, clock: Arc<dyn Clock>) -> Result<(), RunError> {
    let runtime = runtime()?;
    let stop = CancellationToken::new();
    let service = Service::start(&runtime, config, clock)?;
    let signalled = runtime.block_on(async {
        let signal = shutdown::signal();
        tokio::select! {
            signalled = signal => signalled.map_err(RunError::Runtime),
            () = service.broken.cancelled() => Ok(()),
        }
    });
    stop.cancel();
    tracing::info!("stopping");
    service.stop(&runtime).and(signalled)
}

type Thread = JoinHandle<Result<(), RunError>>;

/// The running service.
#[derive(Debug)]
pub struct Service {
    grace: Duration,
    intake: CancellationToken,
    cursors: CancellationToken,
    network: Shutdown,
    /// Cancelled when a thread ends that must not.
    broken: CancellationToken,
    receiver: Thread,
    store: Thread,
    evaluator: Thread,
    shared: Arc<crate::log::Shared>,
    /// The state folder is ours until all threads have ended.
    _lock: Lock,
    /// Where the API listens.
    pub listen: std::net::SocketAddr,
}

impl Service {
    /// Opens everything and starts it.
    ///
    /// # Errors
    /// [`RunError`]: nothing runs then.
    pub fn start(
        runtime: &tokio::runtime::Runtime,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RunError> {
        let listener = runtime.block_on(TcpListener::bind(config.http.listen));
        let listener =
            listener.map_err(|source| RunError::Listen { at: config.http.listen, source })?;
        let listen = listener.local_addr().map_err(RunError::Runtime)?;
        let (listener, starting) = Starting::answer(runtime, listener, config.http.behind_tls)?;
        let (inbox_tx, inbox) = std::sync::mpsc::sync_channel::<ToWorker>(UNACKED_MAX);
        let (outbox_tx, outbox) = mpsc::channel::<Outgoing>(OUTBOX_MAX);
        let sessions = Arc::new(Sessions::default());
        let outbox_too = outbox_tx.clone();
        let acks = (Arc::clone(&sessions), outbox_tx);
        let opened = open::open(runtime, &config, clock, acks, &starting.busy)?;
        let Opened { lock, works, receiver, counting, store, followers, api, parts } = opened;
        let (intake, cursors, broken) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let network = Shutdown::default();
        let api = Api::new(api, network.token.clone());
        let [for_store, for_evaluator] = followers;
        let shared = Arc::clone(&works.shared);
        let watched = config.watch.synthetic.then(|| Watched::draw(&config.broker.client_id));
        let watched = watched.transpose().map_err(RunError::Random)?.map(Arc::new);
        let marks = watched.as_ref().map(|w| Arc::clone(&w.marks)).unwrap_or_default();
        let link = watched.as_ref().and_then(|w| open::tail_of(&works, &receiver, &w.name));

        let (stop, alarm) = (intake.clone(), broken.clone());
        let worker =
            Worker::new(works, receiver).watched(watched.clone()).counting(counting.0, counting.1);
        let receiver = thread("davy-receive", alarm, move || {
            worker.run(&inbox, &stop).map_err(RunError::Receiver)
        })?;
        let (stop, alarm) = (cursors.clone(), broken.clone());
        let told = Told {
            progress: Arc::clone(&parts.progress),
            stats: Arc::clone(&parts.stats),
            live: Arc::clone(&parts.live),
            clock: Arc::clone(&parts.clock),
        };
        let writer = Writer::new(for_store, store, told).map_err(RunError::Store)?;
        let store = thread("davy-store", alarm, move || {
            writer.run(&stop).map(drop).map_err(RunError::Writer)
        })?;
        let (stop, alarm) = (cursors.clone(), broken.clone());
        let works = evaluate::Works {
            state: parts.state.clone(),
            runtime: runtime.handle().clone(),
            log: for_evaluator,
            clock: Arc::clone(&parts.clock),
            board: Arc::clone(&parts.board),
            progress: Arc::clone(&parts.progress),
            listener: Box::new(Announcer::new(
                Arc::clone(&api),
                Arc::clone(&parts.live),
                Arc::clone(&parts.clock),
                Arc::clone(&marks),
                Arc::clone(&parts.metrics),
            )),
        };
        let engines = CatalogueEngines::new(Arc::clone(&parts.catalogue));
        let evaluator = thread("davy-evaluate", alarm, move || {
            let centre =
                Centre::new(engines, rules::evaluator::Limits::default()).watching_itself();
            let cursor = Cursor::start(works, centre).map_err(RunError::Evaluator)?;
            cursor.run(&stop).map_err(RunError::Evaluator)
        })?;

        let _runtime = runtime.enter();
        let broker = config.broker.clone();
        let profile = Arc::new(Profile::new(
            Arc::clone(&parts.live),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
            parts.shared.lineage.positions().count() < 2,
        ));
        let subscriber = mqtt::subscribe(
            broker,
            inbox_tx.clone(),
            sessions,
            Arc::clone(&profile),
            marks,
            intake.clone(),
        );
        network.spawn(subscriber);
        let counted = Arc::clone(&profile);
        network.spawn(mqtt::count_dropped(config.broker.clone(), counted, network.token.clone()));
        network.spawn(mqtt::publish(config.broker.clone(), outbox, profile, network.token.clone()));
        network.spawn(facts::follow(parts.facts(), inbox_tx, intake.clone()));
        let live = Arc::clone(&parts.live);
        network.spawn(page::flush(live, FLUSH, network.token.clone()));
        network.spawn(watch::watch(parts.clone(), network.token.clone()));
        if let Some(watched) = watched {
            let (parts, stop) = (parts.clone(), intake.clone());
            network.spawn(selfwatch::probe(parts, watched, link, outbox_too, stop));
        }
        if let Some(heartbeat) = config.watch.heartbeat {
            network.spawn(selfwatch::heartbeat(parts.clone(), heartbeat, intake.clone()));
        }
        let beside = page::beside(&parts);
        let alarm = broken.clone();
        drop(starting);
        network.spawn(async move {
            // Also when it panics: a centre that nobody can look into must not look alive.
            let _guard = alarm.drop_guard();
            api::serve(listener, api, beside).await;
        });
        spool::fail_point!("start.serving");
        tracing::info!(%listen, state_dir = %config.state_dir.display(), broker = %config.broker.host, "davy-ingest runs");
        Ok(Self {
            grace: config.shutdown_grace,
            intake,
            cursors,
            network,
            broken,
            receiver,
            store,
            evaluator,
            shared,
            _lock: lock,
            listen,
        })
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// What a thread ended with.
    pub fn stop(self, runtime: &tokio::runtime::Runtime) -> Result<(), RunError> {
        spool::fail_point!("stop.begun");
        self.intake.cancel();
        let received = join(self.receiver, self.grace);
        spool::fail_point!("stop.received");
        self.cursors.cancel();
        self.shared.tail.close();
        let stored = join(self.store, self.grace);
        let evaluated = join(self.evaluator, self.grace);
        spool::fail_point!("stop.evaluated");
        if !runtime.block_on(self.network.finish(self.grace)) {
            tracing::warn!("some connections did not end in time");
        }
        received.and(stored).and(evaluated)
    }
}

/// Answers that the service is starting, until it is dropped.
struct Starting {
    busy: api::Busy,
    _stop: DropGuard,
}

impl Starting {
    /// Begins on `listener`, which is given back for what comes afterwards.
    fn answer(
        runtime: &tokio::runtime::Runtime,
        listener: TcpListener,
        tls: bool,
    ) -> Result<(TcpListener, Self), RunError> {
        let _runtime = runtime.enter();
        let socket = listener.into_std().map_err(RunError::Runtime)?;
        let both = [socket.try_clone().map_err(RunError::Runtime)?, socket];
        let [now, then] = both.map(TcpListener::from_std);
        let (now, then) = (now.map_err(RunError::Runtime)?, then.map_err(RunError::Runtime)?);
        let (busy, stop) =
            (api::Busy::new(ArcSwap::from_pointee("its folders")), CancellationToken::new());
        let answered = api::serve_starting(now, Arc::clone(&busy), tls, stop.clone());
        TaskTracker::new().spawn(answered);
        Ok((then, Self { busy, _stop: stop.drop_guard() }))
    }
}

/// Starts a thread that must run until the stop.
fn thread(
    name: &'static str,
    broken: CancellationToken,
    work: impl FnOnce() -> Result<(), RunError> + Send + 'static,
) -> Result<Thread, RunError> {
    let guarded = move || {
        // Also when it panics: a centre without one of its threads must not look alive.
        let _guard = broken.drop_guard();
        work()
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(guarded)
        .map_err(RunError::Runtime)
}

/// Waits for a thread, at most `grace`: what it leaves undone is done at the next start.
fn join(thread: Thread, grace: Duration) -> Result<(), RunError> {
    let name = thread.thread().name().unwrap_or("a thread").to_owned();
    let step = Duration::from_millis(20);
    let mut left = grace;
    while !thread.is_finished() {
        if left.is_zero() {
            tracing::warn!(thread = %name, "did not end in time; nothing is lost");
            return Ok(());
        }
        std::thread::park_timeout(step);
        left = left.saturating_sub(step);
    }
    thread.join().unwrap_or(Err(RunError::Panicked { thread: name }))
}
