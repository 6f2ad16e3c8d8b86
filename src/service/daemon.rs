//! One run of the daemon: lock, store, rooms wired, readiness, and an end in order.
//!
//! Order of the end: watchers and intake stop, lanes begin no new call, calls in flight get
//! [`LAST_CALLS`], the store is written through. A second wish to stop ends it at once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::control::{self, Ask};
use super::ready;
use super::signals::Intent;
use super::status::{LaneStatus, Running, Snapshot, gather};
use super::supervisor::{Fault, Supervisor};
use crate::blocking::off_runtime;
use crate::config::{Config, MappingName, SpreadsheetRef};
use crate::feishu::{Client, ClientError};
use crate::image::ContentHash;
use crate::intake::{self, Digested, Intake};
use crate::placement::{Route, Routes};
use crate::store::{self, FileKey, Lock, LockError, Store, StoreError, Timestamp};
use crate::upload::{self, Documents, Lane, LaneEvent, LaneState, Shared, SharedGate};
use crate::watch::{Candidate, Finding, FolderState, Hint, Ticks, Watched};

/// How long calls in flight may take once the daemon stops.
const LAST_CALLS: Duration = Duration::from_secs(10);
/// Candidates between watchers and intake.
const FINDINGS: usize = 4096;
/// Events for people; whoever lags further behind misses some.
const EVENTS: usize = 4096;
/// A pass over everything gives up on a document after so many failures in a row.
const PASS_FAILURES: u32 = 5;
/// How often a pass looks whether it is over.
const PASS_TICK: Duration = Duration::from_millis(50);
/// How often a pass counts what is left, which reads the whole queue.
const PASS_COUNT: Duration = Duration::from_millis(500);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// Its mappings, compiled.
    pub routes: Routes,
    /// Of the configuration's text: tells a changed one.
    pub text: ContentHash,
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop.
    Serve,
    /// Until everything is written, parked or refused.
    Pass,
}

/// What a run is given beside its setup.
pub struct Parts<'a> {
    /// Who holds the lock, for whoever finds it taken; as `pixcell run`.
    pub role: &'a str,
    /// How long it lasts.
    pub mode: Mode,
    /// From outside.
    pub intents: &'a mut mpsc::Receiver<Intent>,
    /// Reads the configuration again; an error is told and changes nothing.
    pub reload: &'a dyn Fn() -> Result<Setup, String>,
    /// Told of what happens, for people.
    pub events: broadcast::Sender<LaneEvent>,
    /// Told once the folders are compared and being watched.
    pub ready: &'a dyn Fn(),
    /// Told now and then in a pass: how many jobs wait for their turn.
    pub left: &'a dyn Fn(usize),
}

impl Parts<'_> {
    /// A channel for [`Parts::events`].
    pub fn events() -> broadcast::Sender<LaneEvent> {
        broadcast::Sender::new(EVENTS)
    }
}

/// Why a run could not begin or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {source}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is used by another.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A task ended that should not have.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why.
    pub ended: Ended,
    /// What is left, as the store has it.
    pub left: Snapshot,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The pass is over; these documents could not be written now, with the reason.
    Passed(Vec<(String, String)>),
}

/// Runs until told to stop, or until the pass is over.
///
/// # Errors
/// When it cannot begin, or a task of it failed; what was recorded stays recorded.
pub async fn run(setup: Setup, mut parts: Parts<'_>) -> Result<Outcome, DaemonError> {
    let state_dir = setup.config.state_dir.clone();
    let lock = {
        let (dir, role) = (state_dir.clone(), parts.role.to_owned());
        off_runtime(move || lock(&dir, &role)).await?
    };
    let store = {
        let dir = state_dir.clone();
        off_runtime(move || store::open(&dir)).await?
    };
    if let Some((aside, why)) = &store.moved_aside {
        error!(
            "the state was damaged ({why}) and was moved to {}; every folder is compared afresh and \
                pictures may be sent once more",
            aside.display()
        );
    }
    let store = store.store;
    let since = Timestamp::now();
    // One count for all configurations of this run: an arrival after a reload is later than all before.
    let ticks = Arc::<Ticks>::default();
    let mut setup = setup;
    let ended = loop {
        let released = {
            let text = setup.text;
            store
                .call(move |store| store.note_config(text, Timestamp::now()))
                .await?
        };
        if released > 0 {
            info!(
                released,
                "the configuration changed: parked jobs are tried again"
            );
        }
        match Run::start(&setup, &store, &ticks, parts.events.clone(), since)?
            .live(&mut parts)
            .await?
        {
            Next::Ended(ended) => break ended,
            Next::Reload(next) => setup = *next,
        }
    };
    let left = {
        let routes = setup.routes.clone();
        store
            .call(move |store| store.sync().and_then(|()| gather(store, &routes)))
            .await?
    };
    drop(lock);
    info!("stopped");
    Ok(Outcome { ended, left })
}

/// Makes the state directory, refuses one that is another user's, and takes its lock.
fn lock(dir: &std::path::Path, role: &str) -> Result<Lock, DaemonError> {
    let failed = |source| DaemonError::StateDir {
        path: dir.into(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    let owner = fs::metadata(dir).map_err(failed)?.uid();
    let us = rustix::process::geteuid();
    if owner != us.as_raw() && !us.is_root() {
        return Err(failed(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "it belongs to user {owner}, and pixcell runs as user {}",
                us.as_raw()
            ),
        )));
    }
    Ok(Lock::take(dir, role)?)
}

enum Next {
    Ended(Ended),
    Reload(Box<Setup>),
}

/// The tasks of one configuration.
struct Run {
    tasks: Supervisor,
    stop: CancellationToken,
    routes: Routes,
    store: Store,
    findings: mpsc::Sender<Finding>,
    ticks: Arc<Ticks>,
    stale: mpsc::Receiver<FileKey>,
    digested: watch::Receiver<Digested>,
    rescan: Vec<Arc<Notify>>,
    live: Arc<Live>,
    /// Told to lanes once their folders are compared.
    compared: Vec<(SpreadsheetRef, watch::Sender<bool>)>,
}

/// What only the running daemon knows.
struct Live {
    since: Timestamp,
    ready: watch::Sender<bool>,
    folders: BTreeMap<MappingName, watch::Receiver<FolderState>>,
    lanes: BTreeMap<SpreadsheetRef, (watch::Receiver<LaneState>, Arc<SharedGate>)>,
    gate: Arc<SharedGate>,
}

impl Run {
    fn start(
        setup: &Setup,
        store: &Store,
        ticks: &Arc<Ticks>,
        events: broadcast::Sender<LaneEvent>,
        since: Timestamp,
    ) -> Result<Self, DaemonError> {
        let (tasks, stop) = (Supervisor::default(), CancellationToken::new());
        let (findings, received) = mpsc::channel(FINDINGS);
        let (stale, stale_files) = mpsc::channel(FINDINGS);
        let (digests, digested) = watch::channel(Digested::new());
        let gate = Arc::new(SharedGate::default());
        let shared = Shared {
            store: store.clone(),
            client: Client::new(&setup.config.feishu)?,
            routes: setup.routes.clone(),
            gate: Arc::clone(&gate),
            events,
            stale,
            documents: Documents::default(),
        };
        let live = Live {
            since,
            ready: watch::Sender::new(false),
            folders: BTreeMap::new(),
            lanes: BTreeMap::new(),
            gate,
        };
        let mut run = Self {
            tasks,
            stop,
            routes: setup.routes.clone(),
            store: store.clone(),
            findings,
            ticks: Arc::clone(ticks),
            stale: stale_files,
            digested,
            rescan: Vec::new(),
            live: Arc::new(live),
            compared: Vec::new(),
        };
        run.start_lanes(&shared);
        let intake = Intake {
            store: store.clone(),
            findings: received,
            digested: digests,
        };
        run.tasks
            .spawn("the intake", intake::run(intake, run.stop.clone()));
        run.start_watchers();
        run.start_control(&setup.config.state_dir);
        Ok(run)
    }

    /// Only `start` changes what the tasks share later.
    fn live_mut(&mut self) -> Option<&mut Live> {
        Arc::get_mut(&mut self.live)
    }

    fn start_lanes(&mut self, shared: &Shared) {
        for route in self.routes.clone().iter() {
            let spreadsheet = &route.mapping.spreadsheet;
            if self.compared.iter().any(|(known, _)| known == spreadsheet) {
                continue;
            }
            let (state, states) = watch::channel(LaneState::default());
            let (tell_compared, compared) = watch::channel(false);
            let gate = Arc::new(SharedGate::default());
            let lane = Lane {
                spreadsheet: spreadsheet.clone(),
                shared: shared.clone(),
                state,
                compared,
                gate: Arc::clone(&gate),
            };
            let name = format!("the lane of {spreadsheet}");
            self.tasks.spawn(name, upload::run(lane, self.stop.clone()));
            self.compared.push((spreadsheet.clone(), tell_compared));
            if let Some(live) = self.live_mut() {
                live.lanes.insert(spreadsheet.clone(), (states, gate));
            }
        }
    }

    fn start_watchers(&mut self) {
        for route in self.routes.clone().iter() {
            let (state, states) = watch::channel(FolderState::Starting);
            let rescan = Arc::new(Notify::new());
            let watched = Watched {
                route: Arc::clone(route),
                findings: self.findings.clone(),
                ticks: Arc::clone(&self.ticks),
                state,
                rescan: Arc::clone(&rescan),
            };
            self.rescan.push(rescan);
            if let Some(live) = self.live_mut() {
                live.folders.insert(route.mapping.name.clone(), states);
            }
            let (name, stop) = (
                format!("the watcher of {}", route.mapping.name),
                self.stop.clone(),
            );
            self.tasks.spawn::<Fault>(name, async move {
                crate::watch::run(watched, stop).await;
                Ok(())
            });
        }
    }

    fn start_control(&mut self, state_dir: &std::path::Path) {
        match control::listen(state_dir) {
            Ok(listener) => {
                let (store, routes, live) = (
                    self.store.clone(),
                    self.routes.clone(),
                    Arc::clone(&self.live),
                );
                let answer = move |Ask::Status| {
                    let (store, routes, live) = (store.clone(), routes.clone(), Arc::clone(&live));
                    async move {
                        let gathered = store.call(move |store| gather(store, &routes)).await;
                        let mut snapshot = gathered
                            .inspect_err(|error| warn!("control socket: {error}"))
                            .ok()?;
                        live.fill(&mut snapshot);
                        Some(snapshot)
                    }
                };
                let serve = control::serve(listener, answer, self.stop.clone());
                self.tasks.spawn("the control socket", serve);
            }
            // The pictures matter more than the questions about them.
            Err(error) => warn!(
                "no control socket in {}: {error}; `pixcell status` has no answer while this runs",
                state_dir.display()
            ),
        }
    }

    /// Runs until something ends it; then ends its tasks.
    async fn live(mut self, parts: &mut Parts<'_>) -> Result<Next, DaemonError> {
        let next = self.attend(parts).await;
        ready::stopping_unless(matches!(next, Ok(Next::Reload(_))));
        self.stop.cancel();
        let in_order = self.tasks.drain(LAST_CALLS);
        tokio::select! {
            _ = in_order => {}
            () = second_stop(parts.intents) => warn!("ending at once, as asked"),
        }
        next
    }

    async fn attend(&mut self, parts: &mut Parts<'_>) -> Result<Next, DaemonError> {
        let (mut tick, mut count) = (interval(PASS_TICK), interval(PASS_COUNT));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pass = parts.mode == Mode::Pass;
        let mut ready = false;
        loop {
            if !ready && self.compared() {
                ready = true;
                self.live.ready.send_replace(true);
                info!(folders = self.rescan.len(), "ready");
                ready::ready("watching");
                (parts.ready)();
            }
            tokio::select! {
                fault = self.tasks.fault() => {
                    error!("{fault}");
                    return Err(fault.into());
                }
                Some(intent) = parts.intents.recv() => match intent {
                    Intent::Stop => {
                        info!("stopping");
                        return Ok(Next::Ended(Ended::Stopped));
                    }
                    Intent::Rescan => self.rescan.iter().for_each(|rescan| rescan.notify_one()),
                    Intent::Reload => if let Some(setup) = reload(parts.reload) {
                        return Ok(Next::Reload(Box::new(setup)));
                    },
                },
                Some(key) = self.stale.recv() => self.look_again(key),
                Ok(()) = self.digested.changed(), if !ready => {}
                _ = count.tick(), if pass => (parts.left)(self.store.call(Store::queued).await),
                _ = tick.tick(), if ready && pass => {
                    if let Some(stuck) = self.passed().await? {
                        return Ok(Next::Ended(Ended::Passed(stuck)));
                    }
                }
            }
        }
    }

    /// Tells each lane whose folders have been compared; whether all have.
    fn compared(&mut self) -> bool {
        let digested = self.digested.borrow_and_update().clone();
        for (spreadsheet, tell) in &self.compared {
            let ours = |route: &&Arc<Route>| route.mapping.spreadsheet == *spreadsheet;
            let done = |route: &Arc<Route>| digested.contains_key(&route.mapping.name);
            if self.routes.iter().filter(ours).all(done) {
                tell.send_replace(true);
            }
        }
        self.routes
            .iter()
            .all(|route| digested.contains_key(&route.mapping.name))
    }

    /// A file that a lane found changed is looked at, whatever events told of it.
    fn look_again(&self, key: FileKey) {
        let Some(route) = self.routes.of(&key.mapping) else {
            return;
        };
        let candidate = Candidate {
            route: Arc::clone(route),
            path: key.path,
            hint: Hint::Touched,
            tick: self.ticks.next(),
        };
        if self
            .findings
            .try_send(Finding::Candidate(candidate))
            .is_err()
        {
            self.rescan.iter().for_each(|rescan| rescan.notify_one());
        }
    }

    /// Whether nothing is left to send: all written, parked or refused, or behind something that will
    /// not pass by itself; then which documents, and why.
    async fn passed(&self) -> Result<Option<Vec<(String, String)>>, DaemonError> {
        let mut stuck = Vec::new();
        for (spreadsheet, (state, gate)) in &self.live.lanes {
            let lane = spreadsheet.clone();
            let next = self.store.call(move |store| store.next(&lane)).await?;
            let state = state.borrow().clone();
            let lasting = |gate: &SharedGate| gate.closed().filter(|closed| !closed.passing);
            let why = match (next, state) {
                (_, LaneState::Sending { .. } | LaneState::Starting) => return Ok(None),
                (None, _) => continue,
                (_, LaneState::Waiting { why, failures, .. }) if failures >= PASS_FAILURES => why,
                _ => match lasting(gate).or_else(|| lasting(&self.live.gate)) {
                    Some(closed) => closed.reason,
                    None => return Ok(None),
                },
            };
            stuck.push((spreadsheet.to_string(), why));
        }
        // Counted last: a job leaves the queue for this state, and comes back from it.
        let stale = self.store.call(Store::totals).await?.stale;
        debug!(stale, stuck = stuck.len(), "nothing is due");
        Ok((stale == 0).then_some(stuck))
    }
}

impl Live {
    fn fill(&self, snapshot: &mut Snapshot) {
        snapshot.running = Some(Running {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            since: self.since,
            ready: *self.ready.borrow(),
        });
        for mapping in &mut snapshot.mappings {
            let folder = self
                .folders
                .iter()
                .find(|(name, _)| name.as_str() == mapping.name);
            mapping.state = folder.map(|(_, state)| state.borrow().clone());
        }
        snapshot.lanes = self
            .lanes
            .iter()
            .map(|(spreadsheet, (state, gate))| LaneStatus {
                spreadsheet: spreadsheet.to_string(),
                state: state.borrow().clone(),
                gate: gate.closed(),
            })
            .collect();
        snapshot.gate = self.gate.closed();
    }
}

/// Reads the configuration again; `None` when it is wrong and the old one stays in force.
fn reload(read: &dyn Fn() -> Result<Setup, String>) -> Option<Setup> {
    ready::reloading();
    match read() {
        Ok(setup) => {
            info!("the configuration was read again");
            Some(setup)
        }
        Err(why) => {
            error!("the configuration was not taken, the old one stays in force: {why}");
            ready::ready("watching; the new configuration is wrong, the old one stays");
            None
        }
    }
}

/// Ends at the next wish to stop.
async fn second_stop(intents: &mut mpsc::Receiver<Intent>) {
    loop {
        match intents.recv().await {
            Some(Intent::Stop) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
