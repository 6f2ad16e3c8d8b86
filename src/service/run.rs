//! The tasks of one configuration: the rooms wired, readiness, and an end in order.
//!
//! Order of the end: watchers and intake stop, lanes begin no new call, calls in flight get
//! [`LAST_CALLS`]. A second wish to stop ends it at once. When another configuration follows, nothing
//! waits for calls in flight: their lanes stand in a supervisor that outlives this, and end when they do.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use super::control::{self, Ask, Standing};
use super::daemon::{DaemonError, Ended, Lasting, Mode, Next, Parts, Setup};
use super::plan::{Silent, plan};
use super::ready::{self, News, Readiness};
use super::select::{Opened, Retried, history, retry};
use super::signals::Intent;
use super::status::{Asking, LaneStatus, Running, Snapshot, gather};
use super::supervisor::{Fault, Supervisor};
use super::web;
use crate::config::{Config, ImageEncoding, Mapping, MappingName, SpreadsheetRef, Status};
use crate::feishu::{Client, Meter};
use crate::image::ContentHash;
use crate::intake::{self, Copies, Digested, Intake, Unread};
use crate::placement::{Route, Routes};
use crate::store::{FileKey, Store, StoreError, Timestamp};
use crate::upload::{
    self, Budget, Closed, Folders, Lane, LaneEvent, LaneState, Shared, SharedGate, SheetNames,
};
use crate::watch::{Candidate, Finding, FolderState, Hint, Ticks, Watched};

/// How long calls in flight may take once the daemon stops.
pub(super) const LAST_CALLS: Duration = Duration::from_secs(20);
/// How long the other tasks may take before those of another configuration start: longer than any but one
/// whose folder hangs.
const HANDOVER: Duration = Duration::from_secs(5);
/// Candidates between watchers and intake.
const FINDINGS: usize = 4096;
/// Batches of listings between watchers and intake.
const LISTINGS: usize = 4;
/// A pass over everything gives up on a document after so many failures in a row.
const PASS_FAILURES: u32 = 5;
/// How often a pass looks whether it is over.
const PASS_TICK: Duration = Duration::from_millis(50);
/// How often a pass counts what is left, which reads the whole queue.
const PASS_COUNT: Duration = Duration::from_millis(500);

/// How often it is looked whether a folder hangs.
const FOLDERS_TICK: Duration = Duration::from_secs(1);

/// How often the state directory is looked for.
const STATE_TICK: Duration = Duration::from_secs(20);

/// The tasks of one configuration.
pub(super) struct Run {
    tasks: Supervisor,
    stop: CancellationToken,
    /// Tells the lanes as well, also when this ends by a panic.
    _stops: DropGuard,
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

/// Mappings whose folders have been compared by an earlier run of this process: what they held is in the
/// store, and nothing has to be waited for.
pub(super) type Known = Vec<Arc<Mapping>>;

/// What only the running daemon knows.
struct Live {
    since: Timestamp,
    ready: watch::Sender<bool>,
    folders: BTreeMap<MappingName, watch::Receiver<FolderState>>,
    unread: watch::Receiver<Unread>,
    routes: Routes,
    /// Folders that lanes meet silent.
    opened: Folders,
    lanes: BTreeMap<SpreadsheetRef, (watch::Receiver<LaneState>, Arc<SharedGate>)>,
    gate: Arc<SharedGate>,
    budget: Arc<Budget>,
    mended: Arc<AtomicU64>,
    client: Client,
    /// The configuration's.
    text: ContentHash,
    refused: Arc<AtomicBool>,
}

impl Run {
    /// Starts all tasks, the lanes among `lasts`.
    pub fn start(setup: &Setup, lasting: &Lasting, lasts: &mut Supervisor, known: &Known) -> Self {
        let (mut tasks, stop) = (
            Supervisor::new(lasting.pulses.clone()),
            CancellationToken::new(),
        );
        let (findings, candidates) = mpsc::channel(FINDINGS);
        let (listings, listed) = mpsc::channel(LISTINGS);
        let (stale, stale_files) = mpsc::channel(FINDINGS);
        let (digests, digested) = watch::channel(Digested::new());
        let (unread_by, unread) = watch::channel(Unread::new());
        let Lasting {
            store,
            since,
            ticks,
            events,
            written,
            gate,
            budget,
            lane_gates,
            documents,
            folders: opened,
            refused,
            ..
        } = lasting;
        let (routes, mut lanes, mut compared) = (&setup.routes, BTreeMap::new(), Vec::new());
        let mended = Arc::new(AtomicU64::new(0));
        let copies = Copies::new(&setup.config.state_dir);
        let shared = Shared {
            store: store.clone(),
            client: setup
                .client
                .counted_by(Arc::clone(budget) as Arc<dyn Meter>),
            routes: routes.clone(),
            gate: Arc::clone(gate),
            budget: Arc::clone(budget),
            events: events.clone(),
            stale,
            copies: copies.clone(),
            written: Arc::clone(written),
            mended: Arc::clone(&mended),
            documents: documents.clone(),
            folders: opened.clone(),
            names: SheetNames::default(),
        };
        let spreadsheets: BTreeSet<_> = routes
            .iter()
            .map(|route| route.mapping.spreadsheet.clone())
            .collect();
        for spreadsheet in spreadsheets {
            let (state, states) = watch::channel(LaneState::default());
            let mut ours = routes
                .iter()
                .filter(|route| route.mapping.spreadsheet == spreadsheet);
            let (tell_compared, told_compared) =
                watch::channel(ours.all(|route| known.contains(&route.mapping)));
            let gate = lane_gates.of(&spreadsheet);
            let lane = Lane {
                spreadsheet: spreadsheet.clone(),
                shared: shared.clone(),
                state,
                compared: told_compared,
                gate: Arc::clone(&gate),
            };
            lasts.spawn(
                format!("the lane of {spreadsheet}"),
                &stop,
                upload::run(lane, stop.clone()),
            );
            compared.push((spreadsheet.clone(), tell_compared));
            lanes.insert(spreadsheet, (states, gate));
        }
        let wakes: BTreeMap<_, _> = routes
            .iter()
            .map(|route| (route.mapping.name.clone(), Arc::new(Notify::new())))
            .collect();
        let hearing: BTreeMap<_, _> = routes
            .iter()
            .map(|route| (route.mapping.name.clone(), Arc::default()))
            .collect();
        let intake = Intake {
            store: store.clone(),
            routes: routes.clone(),
            copies,
            ticks: Arc::clone(ticks),
            findings: candidates,
            listings: listed,
            digested: digests,
            unread: unread_by,
            rescan: wakes.clone(),
            hearing: hearing.clone(),
        };
        let state = state_is_there(store.clone(), stop.clone());
        tasks.spawn("the state", &stop, state);
        let metrics = web::keep_metrics(stop.clone());
        tasks.spawn::<Fault>("the metrics", &stop, async move {
            metrics.await;
            Ok(())
        });
        tasks.spawn("the intake", &stop, intake::run(intake, stop.clone()));
        let mut folders = BTreeMap::new();
        for route in routes.iter() {
            let (state, states) = watch::channel(FolderState::Starting);
            let wake = wakes
                .get(&route.mapping.name)
                .map(Arc::clone)
                .unwrap_or_default();
            let watched = Watched {
                route: Arc::clone(route),
                findings: findings.clone(),
                listings: listings.clone(),
                ticks: Arc::clone(ticks),
                state,
                rescan: wake,
                hearing: hearing
                    .get(&route.mapping.name)
                    .map(Arc::clone)
                    .unwrap_or_default(),
                state_dir: setup.config.state_dir.clone(),
            };
            folders.insert(route.mapping.name.clone(), states);
            let (name, until) = (
                format!("the watcher of {}", route.mapping.name),
                stop.clone(),
            );
            tasks.spawn::<Fault>(name, &stop, async move {
                crate::watch::run(watched, until).await;
                Ok(())
            });
        }
        let live = Live {
            since: *since,
            ready: watch::Sender::new(false),
            folders,
            unread,
            routes: routes.clone(),
            opened: opened.clone(),
            lanes,
            gate: Arc::clone(gate),
            budget: Arc::clone(budget),
            mended,
            client: setup.client.clone(),
            text: setup.text,
            refused: Arc::clone(refused),
        };
        let mut run = Self {
            tasks,
            _stops: stop.clone().drop_guard(),
            stop,
            routes: routes.clone(),
            store: store.clone(),
            findings,
            ticks: Arc::clone(ticks),
            stale: stale_files,
            digested,
            rescan: wakes.into_values().collect(),
            live: Arc::new(live),
            compared,
        };
        run.start_control(&setup.config);
        run.start_web(&setup.config.status, events);
        run
    }

    /// The way to ask what stands where.
    fn asking(&self) -> impl Fn() -> Asking + Send + Sync + 'static {
        let (store, routes, live) = (
            self.store.clone(),
            self.routes.clone(),
            Arc::clone(&self.live),
        );
        move || {
            let (store, routes, live) = (store.clone(), routes.clone(), Arc::clone(&live));
            Box::pin(async move {
                let gathered = store.call(move |store| gather(store, &routes)).await;
                let mut snapshot = gathered
                    .inspect_err(|error| warn!("status: {error}"))
                    .ok()?;
                live.fill(&mut snapshot);
                Some(snapshot)
            })
        }
    }

    /// What the control socket answers; `None` when the store failed, which the log tells.
    fn answering(
        &self,
        encoding: ImageEncoding,
    ) -> impl Fn(Ask) -> Pin<Box<dyn Future<Output = Option<Value>> + Send>> + Send + Sync + 'static
    {
        let (asking, store, live) = (self.asking(), self.store.clone(), Arc::clone(&self.live));
        let (rescan, routes, silent) =
            (self.rescan.clone(), self.routes.clone(), Silent::default());
        move |ask| {
            let (asked, store, live) = (asking(), store.clone(), Arc::clone(&live));
            let (rescan, routes, silent) = (rescan.clone(), routes.clone(), silent.clone());
            Box::pin(async move {
                let told = match ask {
                    Ask::Status => return serde_json::to_value(asked.await?).ok(),
                    Ask::History { about, most } => {
                        let find = move |store: &Store| history(store, about.as_deref(), most);
                        store
                            .call(find)
                            .await
                            .map(|lines| serde_json::to_value(lines).ok())
                    }
                    Ask::Retry { about } => {
                        // First, so that whatever is released meets what is there now.
                        let opened = live.try_anew();
                        let release = move |store: &Store| retry(store, about.as_deref());
                        let retried = store.call(release).await;
                        retried
                            .map(|retried| serde_json::to_value(Retried { opened, ..retried }).ok())
                    }
                    Ask::Rescan => {
                        for folder in &rescan {
                            folder.notify_one();
                        }
                        Ok(Some(Value::from(rescan.len())))
                    }
                    Ask::Plan => {
                        let stuck = live.stuck();
                        plan(Some(store), &routes, encoding, &stuck, &silent)
                            .await
                            .map(|plan| serde_json::to_value(plan).ok())
                    }
                    Ask::InForce { text } => Ok(serde_json::to_value(live.standing(&text)).ok()),
                };
                told.inspect_err(|error| warn!("control socket: {error}"))
                    .ok()?
            })
        }
    }

    fn start_control(&mut self, config: &Config) {
        match control::listen(config) {
            Ok(listener) => {
                let answer = self.answering(config.feishu.image_encoding);
                let stop = self.stop.clone();
                let serve = async move {
                    control::serve(listener, answer, stop).await;
                    Ok(())
                };
                self.tasks
                    .spawn::<Fault>("the control socket", &self.stop, serve);
            }
            // The pictures matter more than the questions about them.
            Err(error) => warn!(
                "no control socket in {}: {error}; `pixcell status` has no answer while this runs",
                config
                    .control
                    .runtime_dir
                    .as_ref()
                    .unwrap_or(&config.state_dir)
                    .display()
            ),
        }
    }

    fn start_web(&mut self, status: &Status, events: &broadcast::Sender<LaneEvent>) {
        let sources = web::Sources {
            store: self.store.clone(),
            routes: self.routes.clone(),
            events: events.clone(),
            ask: Box::new(self.asking()),
            ready: self.live.ready.subscribe(),
        };
        match web::start(status, sources, self.stop.clone()) {
            Ok(None) => {}
            Ok(Some(serve)) => {
                let serve = async move {
                    serve.await;
                    Ok(())
                };
                self.tasks
                    .spawn::<Fault>("the status server", &self.stop, serve);
            }
            // As above.
            Err(error) => {
                let address = status.listen.map(tracing::field::display);
                warn!(
                    address,
                    "no status page: cannot listen there: {error}; pictures are written all the same"
                );
            }
        }
    }

    /// Runs until something ends it; then ends its tasks. Adds what it has come to know.
    pub async fn live(
        mut self,
        setup: &Setup,
        parts: &mut Parts<'_>,
        lasts: &mut Supervisor,
        known: &mut Known,
    ) -> Result<Next, DaemonError> {
        let next = self.attend(setup, parts, lasts).await;
        let ends = matches!(next, Ok(Next::Ended(_)));
        ready::stopping_unless(!ends);
        self.stop.cancel();
        if ends {
            self.end(parts, lasts).await;
        } else {
            self.tasks.drain(Instant::now() + HANDOVER).await;
        }
        let digested = self.digested.borrow();
        let ours = self.routes.iter().map(|route| &route.mapping);
        *known = ours
            .filter(|ours| known.contains(ours) || digested.contains_key(&ours.name))
            .cloned()
            .collect();
        next
    }

    /// Waits for the tasks to end; a second wish to stop ends them at once.
    async fn end(&mut self, parts: &mut Parts<'_>, lasts: &mut Supervisor) {
        let deadline = Instant::now() + LAST_CALLS;
        loop {
            let drained = async { tokio::join!(self.tasks.drain(deadline), lasts.drain(deadline)) };
            tokio::select! {
                _ = drained => return,
                Some(intent) = parts.intents.recv() => if intent == Intent::Stop {
                    warn!("ending at once, as asked");
                    return;
                },
            }
        }
    }

    async fn attend(
        &mut self,
        setup: &Setup,
        parts: &mut Parts<'_>,
        lasts: &mut Supervisor,
    ) -> Result<Next, DaemonError> {
        let (mut tick, mut count) = (interval(PASS_TICK), interval(PASS_COUNT));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pass = parts.mode == Mode::Pass;
        let mut folders = interval(FOLDERS_TICK);
        let mut readiness = Readiness::begin(Instant::now());
        loop {
            let compared = readiness.is_compared() || self.compared();
            match readiness.judge(compared, Instant::now()) {
                Some(News::Compared) => {
                    self.live.ready.send_replace(true);
                    info!(folders = self.rescan.len(), "ready");
                    ready::ready("watching");
                    (parts.ready)();
                }
                Some(News::Late) => {
                    info!("still comparing folders; what comes meanwhile is taken");
                    ready::ready("watching, and still comparing folders");
                }
                None => {}
            }
            tokio::select! {
                fault = self.tasks.fault() => return Err(fault.into()),
                fault = lasts.fault() => return Err(fault.into()),
                Some(intent) = parts.intents.recv() => match intent {
                    Intent::Stop => {
                        info!("stopping");
                        return Ok(Next::Ended(Ended::Stopped));
                    }
                    Intent::Rescan => self.rescan_all(),
                    Intent::Report => self.report().await,
                    Intent::Reload => if let Some(next) = reload(setup, parts, readiness.is_told(), &self.live.refused) {
                        return Ok(Next::Reload(Box::new(next)));
                    },
                },
                Some(key) = self.stale.recv() => self.look_again(key),
                Ok(()) = self.digested.changed(), if !compared => {}
                _ = folders.tick(), if !compared => {}
                _ = count.tick(), if pass => (parts.left)(self.store.call(Store::queued).await),
                _ = tick.tick(), if compared && pass => {
                    if let Some(stuck) = self.passed().await? {
                        return Ok(Next::Ended(Ended::Passed(stuck)));
                    }
                }
            }
        }
    }

    /// Tells each lane whose folders have been compared, or hang; whether all have.
    fn compared(&mut self) -> bool {
        let digested = self.digested.borrow_and_update().clone();
        let folders = &self.live.folders;
        let done = |route: &Arc<Route>| {
            let name = &route.mapping.name;
            let state = folders.get(name).map(|state| state.borrow());
            digested.contains_key(name)
                || state.is_some_and(|state| matches!(*state, FolderState::Stuck { .. }))
        };
        for (spreadsheet, tell) in &self.compared {
            let ours = |route: &&Arc<Route>| route.mapping.spreadsheet == *spreadsheet;
            if self.routes.iter().filter(ours).all(done) {
                tell.send_replace(true);
            }
        }
        self.routes.iter().all(done)
    }

    /// The whole status as one line of JSON, for a log that is read elsewhere.
    async fn report(&self) {
        let asked = self.asking()().await;
        if let Some(Ok(status)) = asked.map(|snapshot| serde_json::to_string(&snapshot)) {
            info!("status, as asked: {status}");
        }
    }

    fn rescan_all(&self) {
        self.rescan.iter().for_each(|rescan| rescan.notify_one());
    }

    /// A file that a lane found changed is looked at, whatever events told of it.
    fn look_again(&self, key: FileKey) {
        let Some(route) = self.routes.of(&key.mapping) else {
            return;
        };
        let candidate = Candidate {
            route: Arc::clone(route),
            path: key.path,
            hint: Hint::Changed,
            tick: self.ticks.next(),
        };
        if self
            .findings
            .try_send(Finding::Candidate(candidate))
            .is_err()
        {
            self.rescan_all();
        }
    }

    /// Whether nothing is left to send: all written, parked or refused, or behind something that will
    /// not pass by itself; then which documents and folders, and why.
    async fn passed(&self) -> Result<Option<Vec<(String, String)>>, DaemonError> {
        // Counted before and after: a job can become stale, and a stale one be queued, in between.
        if self.to_be_looked_at().await? > 0 {
            return Ok(None);
        }
        let mut stuck = Vec::new();
        for (spreadsheet, (state, gate)) in &self.live.lanes {
            let (lane, routes) = (spreadsheet.clone(), self.routes.clone());
            // What is in silent folders is told of those.
            let silent = self.live.opened.silent();
            let next = move |store: &Store| {
                store.next_of(&lane, |job| upload::answers(&routes, &silent, job))
            };
            let next = self.store.call(next).await?;
            let state = state.borrow().clone();
            let lasting = |gate: &SharedGate| {
                let lasts = |closed: &Closed| !closed.passing || closed.failed + 1 >= PASS_FAILURES;
                gate.closed().filter(lasts)
            };
            let why = match (next, state) {
                (_, LaneState::Sending { .. } | LaneState::Starting) => return Ok(None),
                (None, _) => continue,
                (_, LaneState::Waiting { why, failures, .. }) if failures >= PASS_FAILURES => why,
                _ => match lasting(gate).or_else(|| lasting(&self.live.gate)) {
                    Some(closed) => closed.reason,
                    None => match self.live.budget.stuck() {
                        Some(why) => why,
                        None => return Ok(None),
                    },
                },
            };
            stuck.push((spreadsheet.to_string(), why));
        }
        for route in self.routes.iter() {
            let state = self.live.folder(&route.mapping.name);
            if let Some(FolderState::Missing { why } | FolderState::Stuck { why }) = state {
                stuck.push((route.mapping.folder.display().to_string(), why));
            }
        }
        let still = self.to_be_looked_at().await?;
        Ok((still == 0).then_some(stuck))
    }

    /// Jobs that wait for a look, but for those in folders that are waited for.
    async fn to_be_looked_at(&self) -> Result<u64, StoreError> {
        let away: BTreeSet<_> = self
            .routes
            .iter()
            .map(|route| route.mapping.name.clone())
            .filter(|name| {
                let state = self.live.folder(name);
                matches!(
                    state,
                    Some(FolderState::Missing { .. } | FolderState::Stuck { .. })
                )
            })
            .collect();
        self.store
            .call(move |store| store.to_be_looked_at(|mapping| !away.contains(mapping)))
            .await
    }
}

/// Notices when the state directory is deleted under the daemon, which nothing else would tell, and when
/// the disk hangs while no lane writes.
async fn state_is_there(store: Store, stop: CancellationToken) -> Result<(), StoreError> {
    let mut tick = interval(STATE_TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {
                store.call(|store| store.still_there().and_then(|()| store.sync())).await?;
            }
        }
    }
}

/// Reads the configuration again; `None` when it cannot be taken and the old one stays in force.
/// `refused` is told which.
pub(super) fn reload(
    setup: &Setup,
    parts: &Parts<'_>,
    ready: bool,
    refused: &AtomicBool,
) -> Option<Setup> {
    ready::reloading();
    refused.store(false, Ordering::Relaxed);
    let moved = |next: Setup| {
        let same = next.config.state_dir == setup.config.state_dir;
        same.then_some(next)
            .ok_or_else(|| "state_dir changed, which takes a restart".to_owned())
    };
    match (parts.reload)().and_then(moved) {
        Ok(mut next) => {
            info!("the configuration was read again");
            // One set of connections, unless the API is called in another way, and one pace even then while app and rate are the
            // same.
            if next.config.feishu.is_same(&setup.config.feishu) {
                next.client = setup.client.clone();
            } else {
                next.client.follow(&setup.client);
                next.client.keep_pace_of(&setup.client);
            }
            Some(next)
        }
        Err(why) => {
            error!("the configuration was not taken, the old one stays in force: {why}");
            refused.store(true, Ordering::Relaxed);
            if ready {
                ready::ready("watching; the new configuration is wrong, the old one stays");
            }
            None
        }
    }
}

impl Live {
    /// What a person may have mended is tried at the next call, and documents are asked anew. Tells what
    /// was closed.
    fn try_anew(&self) -> Vec<Opened> {
        self.mended.fetch_add(1, Ordering::Release);
        self.client.try_anew();
        let lanes = self
            .lanes
            .iter()
            .map(|(spreadsheet, (_, gate))| (Some(spreadsheet.to_string()), gate));
        [(None, &self.gate)]
            .into_iter()
            .chain(lanes)
            .filter_map(|(spreadsheet, gate)| {
                let reason = gate.change(|gate| gate.try_now(Instant::now(), Timestamp::now()))?;
                Some(Opened {
                    spreadsheet,
                    reason,
                })
            })
            .collect()
    }

    /// Where a mapping's folder stands. One whose files cannot be read is stuck, though it can be listed.
    fn folder(&self, mapping: &MappingName) -> Option<FolderState> {
        let state = self.folders.get(mapping)?.borrow().clone();
        let unread = self.unread.borrow().get(mapping).cloned();
        let unopened = || self.opened.why(&self.routes.of(mapping)?.mapping.folder);
        let unread = unread.or_else(unopened);
        Some(match (state, unread) {
            (FolderState::Native { .. } | FolderState::Poll { .. }, Some(why)) => {
                FolderState::Stuck { why }
            }
            (state, _) => state,
        })
    }

    /// Mappings whose folders hang.
    fn stuck(&self) -> BTreeSet<MappingName> {
        let hangs = |mapping: &&MappingName| {
            matches!(self.folder(mapping), Some(FolderState::Stuck { .. }))
        };
        self.folders.keys().filter(hangs).cloned().collect()
    }

    fn fill(&self, snapshot: &mut Snapshot) {
        snapshot.running = Some(Running {
            pid: std::process::id(),
            version: env!("PIXCELL_VERSION").into(),
            since: self.since,
            ready: *self.ready.borrow(),
        });
        for mapping in &mut snapshot.mappings {
            let mut names = self.folders.keys();
            let name = names.find(|name| name.as_str() == mapping.name);
            mapping.state = name.and_then(|name| self.folder(name));
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
        snapshot.gate = self.gate.closed().or_else(|| self.budget.closed());
        snapshot.calls = Some(self.budget.calls());
        snapshot.judge(Timestamp::now());
    }

    fn standing(&self, text: &str) -> Standing {
        if self.text.to_hex() == text {
            Standing::InForce
        } else if self.refused.load(Ordering::Relaxed) {
            Standing::Refused
        } else {
            Standing::Other
        }
    }
}
