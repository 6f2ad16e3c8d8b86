//! A lane: the serial uploader of one spreadsheet. It takes the job that is due first, sends it, and
//! records what came of it. One call in flight, whatever happens.
//!
//! Waits end when the daemon stops; a call in flight is left to finish and is cut off by the task's
//! owner when its time is over. What an answer means for the job and the gates is in `outcome`, how missing
//! rows are found in `rows`.

mod event;
mod outcome;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::histogram;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

pub use event::{LaneEvent, LaneState};

use outcome::{Tries, parked, pause};

use super::append::{Appending, Failed};
use super::budget::{Budget, Permit};
use super::folders::Folders;
use super::gate::{Probe, SharedGate, Ticket};
use super::names::{SheetNames, clashes};
use super::resolve::{Document, NoTarget};
use crate::blocking::off_runtime;
use crate::config::{MappingName, SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Class, Client, Leave, Picture, Refusal, Scope, hold, image_name};
use crate::intake::{Copies, open_beneath};
use crate::placement::{Route, Routes, Slot, SlotAddress};
use crate::pulse::{waiting, within};
use crate::store::{
    FileKey, Fingerprint, Job, Release, Store, StoreError, Target, Timestamp, Waiting,
};

/// A due time later than the slot's interval by more than this comes from a clock that was set back: the
/// job is due now. Longer than the longest back-off.
const CLOCK_SLACK: Duration = Duration::from_mins(10);
/// A receipt waits so long for the intent of the next call, to go to the disk with it.
const COMPANY: Duration = Duration::from_millis(3);
/// While writes are spread, a lane looks this often which of its mappings have something to send.
const LOOK: Duration = Duration::from_mins(1);

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The store.
    pub store: Store,
    /// The API.
    pub client: Client,
    /// The configured mappings.
    pub routes: Routes,
    /// Closed while the app can send nothing.
    pub gate: Arc<SharedGate>,
    /// The month's calls.
    pub budget: Arc<Budget>,
    /// Told of what happens, for people; whoever lags misses some.
    pub events: broadcast::Sender<LaneEvent>,
    /// Files that changed or went after they were hashed, to be looked at again.
    pub stale: mpsc::Sender<FileKey>,
    /// Copies of files that change while they are sent.
    pub copies: Copies,
    /// Counts receipts.
    pub written: Arc<AtomicU64>,
    /// Counts how often a person said that something was mended: what documents said is asked anew.
    pub mended: Arc<AtomicU64>,
    /// One call in flight a document, even when two lanes name it differently.
    pub documents: Documents,
    /// Which folders are silent.
    pub folders: Folders,
    /// Which names sheets were met by.
    pub names: SheetNames,
}

impl Shared {
    /// Selects the jobs whose folders are not silent.
    fn answers(&self) -> impl Fn(&Job) -> bool + Send + use<> {
        let (routes, silent) = (self.routes.clone(), self.folders.silent());
        move |job| answers(&routes, &silent, job)
    }
}

/// Whether a job's folder is none of those that are silent.
pub fn answers(routes: &Routes, silent: &BTreeSet<PathBuf>, job: &Job) -> bool {
    let is_silent = |route: &Arc<Route>| silent.contains(&route.mapping.folder);
    silent.is_empty() || !routes.of(&job.source.mapping).is_some_and(is_silent)
}

/// What lanes that reach one document under different names have in common.
#[derive(Debug, Clone, Default)]
pub struct Documents(Arc<Mutex<HashMap<SpreadsheetToken, Arc<OneDocument>>>>);

#[derive(Debug, Default)]
struct OneDocument {
    /// Held for a call.
    serial: tokio::sync::Mutex<()>,
    /// Closed for as long as the server asked for, whichever lane it told.
    gate: Arc<SharedGate>,
}

impl Documents {
    fn of(&self, token: &SpreadsheetToken) -> Arc<OneDocument> {
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(documents.entry(token.clone()).or_default())
    }
}

/// One lane.
#[derive(Debug)]
pub struct Lane {
    /// Its document, as the configuration names it.
    pub spreadsheet: SpreadsheetRef,
    /// What it shares with the others.
    pub shared: Shared,
    /// Where its state is told.
    pub state: watch::Sender<LaneState>,
    /// `true` once the folders that feed it have been compared: of many files for one slot only the
    /// newest is sent.
    pub compared: watch::Receiver<bool>,
    /// Its gate.
    pub gate: Arc<SharedGate>,
}

/// What became of one turn.
type Turn = Result<(), StoreError>;

/// Sends what is due until `stop`.
///
/// # Errors
/// When the store fails.
pub async fn run(lane: Lane, stop: CancellationToken) -> Result<(), StoreError> {
    // A start is as good a moment as any to look for rows that were missing.
    let (named, now) = (lane.spreadsheet.clone(), Timestamp::now());
    let release = move |store: &Store| {
        store.release_of(&named, now, |_, _, parked| parked.until == Release::Row)
    };
    lane.shared.store.call(release).await?;
    let mut compared = lane.compared.clone();
    let ready = async { compared.wait_for(|compared| *compared).await.is_ok() };
    if stop.run_until_cancelled(ready).await != Some(true) {
        return Ok(());
    }
    lane.state.send_replace(LaneState::Idle);
    let mut worker = Worker {
        lane,
        document: Document::default(),
        reached: None,
        mended: 0,
        failures: 0,
        opened: None,
        refused: None,
        apart: false,
        tries: HashMap::new(),
        probing: Probing::default(),
        not_before: BTreeMap::new(),
        stop: stop.clone(),
        receipt: None,
        ahead: None,
    };
    while let Some(next) = stop.run_until_cancelled(worker.next()).await {
        // Not cancelled: a call in flight is finished.
        match next? {
            Next::Job(job, permit) => {
                within(Duration::ZERO, worker.turn(*job)).await?;
                drop(permit);
            }
            Next::Look => within(Duration::ZERO, worker.look_for_rows()).await?,
        }
    }
    worker.settled().await
}

/// What a lane does next.
enum Next {
    /// Sends a job.
    Job(Box<Waiting>, Permit),
    /// Reads a key column again, because keys are missing from it.
    Look,
}

/// Whose probes the lane has taken: nobody else gets through until it gives them back.
#[derive(Debug, Default)]
struct Probing {
    own: Option<Probe>,
    app: Option<Probe>,
    calls: Arc<TurnsCalls>,
}

/// What came of the calls of one turn.
#[derive(Debug, Default)]
struct TurnsCalls {
    /// One was made.
    made: AtomicBool,
    /// One was answered, and not with something about the whole app.
    answered: AtomicBool,
    /// And that one was a write.
    wrote: AtomicBool,
}

/// The gates of a lane and what it probes them by, asked again before each request.
#[derive(Debug)]
struct Gates {
    gates: Vec<(Arc<SharedGate>, Option<Ticket>)>,
    calls: Arc<TurnsCalls>,
}

impl Leave for Gates {
    fn may_go(&self) -> bool {
        let may_go = self.gates.iter().all(|(gate, probe)| gate.may_go(*probe));
        self.calls.made.fetch_or(may_go, Ordering::Relaxed);
        may_go
    }

    fn ended(&self, failed: Option<&CallError>, writes: bool) {
        let answered = failed.is_none_or(|error| {
            error.refusal().is_some_and(|refusal| {
                let is_the_apps = matches!(
                    refusal.class,
                    Class::Token
                        | Class::Credentials
                        | Class::Quota
                        | Class::Throttled(Scope::App)
                        | Class::Unreached
                );
                refusal.code.is_some() && !is_the_apps
            })
        });
        self.calls.answered.fetch_or(answered, Ordering::Relaxed);
        let wrote = answered && writes;
        self.calls.wrote.fetch_or(wrote, Ordering::Relaxed);
    }
}

struct Worker {
    lane: Lane,
    document: Document,
    /// What it shares of it with other lanes, once its token is known.
    reached: Option<Arc<OneDocument>>,
    /// [`Shared::mended`] when the document was asked.
    mended: u64,
    /// Calls that failed in a row, those left out that no other document's calls would have got through either.
    failures: u32,
    /// How often others had got through to the host when a gateway answered last.
    opened: Option<u64>,
    /// How often the app's gate had been opened when the last call was refused for want of credentials.
    refused: Option<u64>,
    /// Such calls are refused to this lane while others' get through.
    apart: bool,
    /// How jobs failed for themselves, by their numbers; at most [`TRIES_MOST`](outcome::TRIES_MOST).
    tries: HashMap<u64, Tries>,
    /// Which gates this turn probes.
    probing: Probing,
    /// Slots whose last call was given up because the file changed, and when their interval is over.
    not_before: BTreeMap<SlotAddress, Timestamp>,
    /// No call begins after this.
    stop: CancellationToken,
    /// The latest receipt, on its way to the disk. It waits for company no longer when the sender is dropped.
    receipt: Option<(JoinHandle<Turn>, Option<oneshot::Sender<()>>)>,
    /// The job that was due first when that was recorded.
    ahead: Option<Waiting>,
}

impl Worker {
    fn shared(&self) -> &Shared {
        &self.lane.shared
    }

    /// Waits for a job that is due and for both gates.
    async fn next(&mut self) -> Result<Next, StoreError> {
        let waker = self.shared().store.waker(&self.lane.spreadsheet);
        let folders = self.shared().folders.clone();
        loop {
            let (woken, answers) = (waker.notified(), folders.over());
            let look = self.document.keys().next_look().map(|(_, at)| at);
            if look.is_some_and(|at| at <= Instant::now()) {
                return Ok(Next::Look);
            }
            let first = match self.ahead.take() {
                None => self.first().await?,
                ahead => ahead,
            };
            let wait = first.as_ref().map(|waiting| self.wait_for(waiting));
            if wait.is_none_or(|wait| !wait.is_zero()) {
                self.settled().await?;
                if first.is_none() {
                    self.lane.state.send_replace(LaneState::Idle);
                }
                let due = wait.map(|wait| Instant::now() + wait);
                let due = async {
                    match due.into_iter().chain(look).min() {
                        Some(at) => sleep_until(at).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    () = woken => {}
                    () = answers => {}
                    () = due => {}
                }
                continue;
            }
            // Read again where something is waited for first. A newer one that comes just now is noticed by
            // `begin`.
            let at_once = self.is_open() && self.shared().budget.is_free();
            // The lane's own gate first: it must not hold a probe of the app's while it waits.
            self.probing = Probing {
                own: self.lane.gate.pass().await,
                ..Probing::default()
            };
            let Some((mapping, permit)) = self.permit().await? else {
                self.probing = Probing::default();
                continue;
            };
            self.probing.app = self.shared().gate.pass().await;
            // Newer content may have come while the gates were closed, or none may be due any more.
            let waiting = match mapping {
                Some(mapping) => self.newest().await?.remove(&mapping),
                None if at_once => first,
                None => self.first().await?,
            };
            match waiting {
                Some(waiting) if self.wait_for(&waiting).is_zero() => {
                    return Ok(Next::Job(Box::new(waiting), permit));
                }
                _ => self.probing = Probing::default(),
            }
        }
    }

    /// The job that is due first.
    async fn first(&self) -> Result<Option<Waiting>, StoreError> {
        let (spreadsheet, answers) = (self.lane.spreadsheet.clone(), self.shared().answers());
        self.shared()
            .store
            .call(move |store| store.next_of(&spreadsheet, answers))
            .await
    }

    /// The newest job of each mapping that has one due.
    async fn newest(&self) -> Result<BTreeMap<MappingName, Waiting>, StoreError> {
        let (spreadsheet, routes) = (self.lane.spreadsheet.clone(), self.shared().routes.clone());
        let answers = self.shared().answers();
        let is_due =
            move |waiting: &Waiting| wait_for(&routes, waiting).is_zero() && answers(&waiting.job);
        self.shared()
            .store
            .call(move |store| store.newest(&spreadsheet, is_due))
            .await
    }

    /// Leave to write; for a certain mapping while writes are spread. `None` when nothing is due any more.
    async fn permit(&self) -> Result<Option<(Option<MappingName>, Permit)>, StoreError> {
        let budget = &self.shared().budget;
        if let Some(permit) = budget.free() {
            return Ok(Some((None, permit)));
        }
        let waker = self.shared().store.waker(&self.lane.spreadsheet);
        loop {
            let woken = waker.notified();
            let mappings: BTreeSet<_> = self.newest().await?.into_keys().collect();
            if mappings.is_empty() {
                return Ok(None);
            }
            tokio::select! {
                (mapping, permit) = budget.turn(mappings) => return Ok(Some((Some(mapping), permit))),
                // Another mapping may have something by now.
                () = woken => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn wait_for(&self, waiting: &Waiting) -> Duration {
        wait_for(&self.shared().routes, waiting)
    }

    /// The client of this turn: its calls go only while the gates let them.
    fn client(&self) -> Client {
        let Probing { own, app, calls } = &self.probing;
        let gates = [(&self.lane.gate, own), (&self.shared().gate, app)];
        let gates = gates.map(|(gate, probe)| (gate, probe.as_ref().map(Probe::ticket)));
        let documents = self.reached.iter().map(|document| (&document.gate, None));
        let gates = gates.into_iter().chain(documents);
        let gates = gates
            .map(|(gate, probe)| (Arc::clone(gate), probe))
            .collect();
        let calls = Arc::clone(calls);
        let leave = Arc::new(Gates { gates, calls });
        self.shared().client.with_leave(leave)
    }

    /// Whether the server asked for a wait for the document under whatever name; the lane then keeps it.
    fn has_to_wait(&mut self, document: &Arc<OneDocument>) -> bool {
        self.reached = Some(Arc::clone(document));
        let asked = document.gate.asked();
        if let Some((why, wait)) = &asked {
            pause(&self.lane.gate, why, *wait, true);
        }
        asked.is_some()
    }

    /// The lane waits; when the server asked for it, so do all that reach the document.
    fn pause_lane(&self, reason: &str, wait: Duration, asked: bool) {
        pause(&self.lane.gate, reason, wait, asked);
        if let Some(document) = self.reached.as_ref().filter(|_| asked) {
            pause(&document.gate, reason, wait, true);
        }
    }

    /// A probe that learnt nothing ends here; whatever was learnt has changed the gates already. Without a call
    /// nothing was tried, and another may at once.
    fn give_back(&mut self) {
        let Probing { own, app, calls } = std::mem::take(&mut self.probing);
        let answered = calls.answered.load(Ordering::Relaxed);
        if !answered && !calls.made.load(Ordering::Relaxed) {
            return;
        }
        let (now, clock) = (Instant::now(), Timestamp::now());
        if let Some(probe) = own {
            probe.inconclusive(now, clock);
        }
        let Some(probe) = app else { return };
        if !answered {
            probe.inconclusive(now, clock);
        } else if let Some(since) = probe.answered(calls.wrote.load(Ordering::Relaxed), now) {
            let closed = clock.since(since);
            info!(spreadsheet = %self.lane.spreadsheet, ?closed, "the API answers again");
        }
    }

    /// Sends one job and records what came of it.
    async fn turn(&mut self, waiting: Waiting) -> Turn {
        // Whatever it waited for after a failure is over.
        self.lane.state.send_modify(|state| {
            if matches!(state, LaneState::Waiting { .. }) {
                *state = LaneState::Idle;
            }
        });
        let done = self.send(waiting).await;
        self.lane.state.send_modify(|state| {
            if matches!(state, LaneState::Sending { .. }) {
                *state = LaneState::Idle;
            }
        });
        self.give_back();
        done
    }

    async fn send(&mut self, Waiting { address, job, .. }: Waiting) -> Turn {
        let FileKey { mapping, path } = &job.source;
        let routes = &self.shared().routes;
        let route = routes.of(mapping).cloned();
        let Some(route) = route.filter(|_| routes.send(mapping, path, &address)) else {
            return self.withdraw(address, job).await;
        };
        if let Some(due) = self.not_before.get(&address).copied()
            && due > Timestamp::now()
        {
            let store = move |store: &Store| store.postpone(&address, &job, due, false);
            return self.store(store).await;
        }
        // Before any call, and before the document is taken from others: a folder may hang.
        let picture = match self.open(&route, &job).await {
            // Its turn comes when the folder answers.
            None => return Ok(()),
            Some(Ok(picture)) => picture,
            // What became of it is for a look to say, which knows whether there is a newer file.
            Some(Err(Changed)) => return self.stale(address, job, false).await,
        };
        // What another lane was told of the document, which may have another name there.
        if let Some(reached) = self.reached.clone()
            && self.has_to_wait(&reached)
        {
            return Ok(());
        }
        let turn = Instant::now();
        let client = self.client();
        let mended = self.shared().mended.load(Ordering::Acquire);
        if mended != std::mem::replace(&mut self.mended, mended) {
            self.document.forget();
        }
        let token = match self.document.token(&client, &address.spreadsheet).await {
            Ok(token) => token,
            Err(CallError::NotNow) => return Ok(()),
            Err(error) => return self.failed(address, job, error, true).await,
        };
        let document = self.shared().documents.of(&token);
        // The call in flight may be of a lane that another configuration has replaced.
        let serial = document.serial.lock();
        let Some(serial) = waiting(self.stop.run_until_cancelled(serial)).await else {
            return Ok(());
        };
        // Its answer may have asked for a wait.
        if self.stop.is_cancelled() || self.has_to_wait(&document) {
            return Ok(());
        }
        let client = self.client();
        let target = match self.target(&client, &token, &address).await {
            Ok(target) => target,
            Err(Failed::Store(error)) => return Err(error),
            Err(Failed::NoTarget(why)) => return self.no_target(address, job, why, turn).await,
        };
        self.release_found().await?;
        self.tell_names(&target, &address).await;
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let began = Timestamp::now();
        let intent = {
            let (address, job) = (address.clone(), job.clone());
            let begin = move |store: &Store| store.begin(&address, &job, began);
            self.shared().store.call(begin).await?
        };
        let Some(intent) = intent else {
            debug!(slot = %address.slot, "a newer version came");
            return Ok(());
        };
        histogram!("pixcell_stage_seconds", "stage" => "queue").record(began.since(job.since));
        self.lane.state.send_replace(LaneState::Sending {
            file: job.source.path.to_string(),
            slot: address.slot.to_string(),
            since: began,
        });
        let (start, name) = (
            Instant::now(),
            image_name(job.source.path.file_name(), job.format),
        );
        let (let_go, hold) = hold();
        let receipt_is_due = self
            .receipt
            .as_ref()
            .is_some_and(|(receipt, _)| !receipt.is_finished());
        // A task of its own, which ends by its own limits: whether the disk moves is watched beside it.
        let written = {
            let (target, picture) = (target.clone(), picture.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let Target {
                    spreadsheet,
                    sheet,
                    cell,
                } = &target;
                client
                    .write_image(spreadsheet, sheet, *cell, &name, &picture, &hold)
                    .await
            }))
        };
        // One sync for both.
        if receipt_is_due || !intent.may_be_lost() {
            within(Duration::ZERO, self.shared().store.settle(intent)).await?;
        }
        let_go.let_go();
        let written = match waiting(written).await {
            Ok(written) => written,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime ends.
            Err(_) => return Ok(()),
        };
        // Was on disk with the intent.
        self.settled().await?;
        match written {
            Ok(receipt) => {
                let took = start.elapsed();
                let (sent, interval) = (job.clone(), route.mapping.min_interval);
                self.written(address, job, target, receipt, took, interval)
                    .await?;
                // What is written is recorded, and the document is others' again: this may take long.
                drop(serial);
                self.rests(&route, &sent).await;
                Ok(())
            }
            Err(CallError::Source(fault)) => {
                debug!(mapping = %job.source.mapping, file = %job.source.path, "{fault}");
                self.shared().copies.restless(&job.source);
                // The request broke off by our own doing: unless something was answered before, nothing was tried.
                self.probing.calls.made.store(false, Ordering::Relaxed);
                // It was a call all the same.
                let due = began.after(route.mapping.min_interval);
                self.not_before.retain(|_, due| *due > began);
                self.not_before.insert(address.clone(), due);
                self.stale(address, job, true).await
            }
            Err(CallError::NotNow) => self.not_made(address, job).await,
            Err(error) => {
                let job = Job {
                    attempts: job.attempts + 1,
                    ..job
                };
                if self.has_changed(&error, turn) {
                    return self.again(address, job, true).await;
                }
                self.failed(address, job, error, false).await
            }
        }
    }

    /// Whether a place is refused that was there when the sheets were asked for, before this `turn`: rows or
    /// a whole sheet may be gone meanwhile. Asked for afresh it may be found, or it is told why not.
    fn has_changed(&self, error: &CallError, turn: Instant) -> bool {
        error.refusal().is_some_and(Refusal::names_no_place) && self.document.is_older_than(turn)
    }

    /// Asks the document anew, and then sends the job.
    async fn again(&mut self, address: SlotAddress, job: Job, untouched: bool) -> Turn {
        debug!(slot = %address.slot, "the place is not what it was; asking for the sheets again");
        self.document.forget();
        let now = Timestamp::now();
        self.store(move |store| store.postpone(&address, &job, now, untouched))
            .await
    }

    /// The call had to wait when its turn came: the job is due as before.
    async fn not_made(&self, address: SlotAddress, job: Job) -> Turn {
        debug!(slot = %address.slot, "calls wait; not sent yet");
        self.store(move |store| store.not_made(&address, &job))
            .await
    }

    /// Opens the job's file, when it still is what was hashed; `None` when its folder is silent.
    async fn open(&self, route: &Route, job: &Job) -> Option<Result<Picture, Changed>> {
        if let Some(file) = self.shared().copies.of(&job.source, job.hash) {
            return Some(Ok(picture_of(file, job)));
        }
        let (folder, ours) = (route.mapping.folder.clone(), job.clone());
        let folders = &self.shared().folders;
        folders
            .ask(&route.mapping, &job.source.path, move || {
                open(&folder, &ours)
            })
            .await
    }

    /// A version was sent: whether its file still is that version decides whether it needs copies.
    async fn rests(&self, route: &Route, sent: &Job) {
        let (copies, folders) = (&self.shared().copies, &self.shared().folders);
        if copies.has(&sent.source) {
            let (folder, ours) = (route.mapping.folder.clone(), sent.clone());
            let still = move || open(&folder, &ours).is_ok();
            let rests = folders.ask(&route.mapping, &sent.source.path, still).await;
            copies.sent(&sent.source, sent.hash, rests == Some(true));
        }
    }

    /// Waits until the latest receipt is on disk.
    async fn settled(&mut self) -> Turn {
        let Some((receipt, waits)) = &mut self.receipt else {
            return Ok(());
        };
        drop(waits.take());
        let done = within(Duration::ZERO, receipt).await;
        self.receipt = None;
        match done {
            Ok(done) => done,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime ends.
            Err(_) => Ok(()),
        }
    }

    /// Whether no gate holds calls back.
    fn is_open(&self) -> bool {
        [&self.lane.gate, &self.shared().gate]
            .into_iter()
            .all(|gate| gate.closed().is_none())
    }

    /// Where a slot's picture goes now.
    async fn target(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        address: &SlotAddress,
    ) -> Result<Target, Failed> {
        let row = match &address.slot {
            Slot::RowOfFile {
                column, first_row, ..
            } => {
                let appending = Appending {
                    client,
                    store: &self.lane.shared.store,
                    token,
                    address,
                    column: *column,
                    first_row: *first_row,
                };
                appending.row(&mut self.document).await?
            }
            Slot::Cell(cell) => cell.row,
            Slot::RowByKey { first_row, .. } => *first_row,
        };
        Ok(self.document.target(client, token, address, row).await?)
    }

    async fn no_target(
        &mut self,
        address: SlotAddress,
        job: Job,
        why: NoTarget,
        turn: Instant,
    ) -> Turn {
        let parked = match why {
            // Nothing was begun for the job, which is due as before.
            NoTarget::Call(CallError::NotNow) => return Ok(()),
            NoTarget::Call(error) => return self.failed(address, job, error, true).await,
            NoTarget::Refused(error) if self.has_changed(&error, turn) => {
                return self.again(address, job, false).await;
            }
            NoTarget::Refused(error) => parked(error.to_string(), Some(&error), Release::Person),
            NoTarget::Nowhere(reason) => parked(reason, None, Release::Person),
            NoTarget::NoRow(reason) => parked(reason, None, Release::Row),
        };
        self.park(address, job, parked, false).await?;
        self.release_found().await
    }

    /// Warns when another mapping names the sheet in another way and can fill the same places.
    async fn tell_names(&self, target: &Target, address: &SlotAddress) {
        let name = (address.spreadsheet.clone(), address.sheet.clone());
        let names = &self.shared().names;
        let others = names.others(&target.spreadsheet, &target.sheet, &name);
        if others.is_empty() {
            return;
        }
        let routes = self.shared().routes.clone();
        let found = off_runtime(move || {
            let found = others.iter().map(|other| clashes(&routes, other, &name));
            found.flatten().collect::<Vec<_>>()
        });
        for clash in found.await {
            warn!(spreadsheet = %target.spreadsheet, "{clash}");
        }
    }

    async fn store(&self, work: impl FnOnce(&Store) -> Turn + Send + 'static) -> Turn {
        self.shared().store.call(work).await
    }

    fn tell(&self, event: LaneEvent) {
        // Nobody listening is fine.
        let _ = self.shared().events.send(event);
    }
}

/// How long a job still has to wait for its time.
fn wait_for(routes: &Routes, waiting: &Waiting) -> Duration {
    let wait = waiting.due.since(Timestamp::now());
    let route = routes.of(&waiting.job.source.mapping);
    let interval = route.map_or(Duration::ZERO, |route| route.mapping.min_interval);
    if wait > interval.saturating_add(CLOCK_SLACK) {
        Duration::ZERO
    } else {
        wait
    }
}

/// The file is not, or not any more, what was hashed.
struct Changed;

/// Opens a job's file, when it still is what was hashed. Blocks.
fn open(folder: &Path, job: &Job) -> Result<Picture, Changed> {
    let file = open_beneath(folder, &job.source.path).map_err(|_| Changed)?;
    let now = file.metadata().map_err(|_| Changed)?;
    if Fingerprint::of(&now) != job.fingerprint {
        return Err(Changed);
    }
    Ok(picture_of(Arc::new(file), job))
}

fn picture_of(file: Arc<File>, job: &Job) -> Picture {
    Picture {
        file,
        length: job.fingerprint.size,
        hash: job.hash,
    }
}
