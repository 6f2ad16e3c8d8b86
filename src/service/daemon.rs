//! The daemon: lock, store, one configuration after the other, and what is left at the end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::restart::Restarts;
use super::run::{Known, LAST_CALLS, Run, reload};
use super::signals::Intent;
use super::status::{Snapshot, gather};
use super::supervisor::{Fault, Supervisor, caught};
use super::watchdog;
use crate::blocking::off_runtime;
use crate::config::Config;
use crate::feishu::{Client, ClientError};
use crate::image::ContentHash;
use crate::placement::{Routes, SlotAddress};
use crate::pulse::Pulses;
use crate::store::{self, FileKey, Lock, LockError, Reconfigured, Store, StoreError, Timestamp};
use crate::upload::{Budget, Documents, Folders, Gate, LaneEvent, LaneGates, SharedGate};
use crate::watch::Ticks;
use bytesize::ByteSize;

/// Events for people; whoever lags further behind misses some.
const EVENTS: usize = 4096;

/// Its name where tasks have theirs.
const ITSELF: &str = "the daemon itself";

/// How long a person's token that the disk did not take is tried to be written at the end.
const LAST_TOKEN: Duration = Duration::from_secs(5);

/// Waits before the store is opened anew after the disk refused it: the first, and the longest.
const REOPEN_FIRST: Duration = Duration::from_millis(500);
const REOPEN_MOST: Duration = Duration::from_secs(30);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// Its mappings, compiled.
    pub routes: Routes,
    /// Of the configuration's text: tells a changed one.
    pub text: ContentHash,
    /// The API, as the configuration has it.
    pub client: Client,
}

impl Setup {
    /// A setup that can run: its client could be made.
    ///
    /// # Errors
    /// When a certificate or the proxy is not usable.
    pub fn new(config: Config, routes: Routes, text: ContentHash) -> Result<Self, ClientError> {
        let client = Client::new(&config.feishu)?;
        Ok(Self {
            config,
            routes,
            text,
            client,
        })
    }
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
    /// Pictures written.
    pub written: u64,
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

/// What outlives a change of the configuration.
pub(super) struct Lasting {
    pub store: Store,
    pub since: Timestamp,
    /// One count for all configurations: an arrival after a reload is later than all before it.
    pub ticks: Arc<Ticks>,
    pub events: broadcast::Sender<LaneEvent>,
    pub written: Arc<AtomicU64>,
    /// A wait that the server asked for holds whatever the configuration.
    pub gate: Arc<SharedGate>,
    /// And so does one for a document.
    pub lane_gates: LaneGates,
    /// The app's calls of the month, whatever the configuration.
    pub budget: Arc<Budget>,
    pub documents: Documents,
    /// A thread that hangs in a folder outlives what made it.
    pub folders: Folders,
    /// Whether the configuration that it was told to take up last could not be.
    pub refused: Arc<AtomicBool>,
    pub pulses: Pulses,
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
    let pulses = Pulses::default();
    let _watchdog = watchdog::start(pulses.clone());
    let mut lasting = Lasting {
        store: open(&state_dir).await?,
        since: Timestamp::now(),
        ticks: Arc::default(),
        events: parts.events.clone(),
        written: Arc::default(),
        gate: Arc::default(),
        budget: Arc::new(counted(&state_dir).await?),
        lane_gates: LaneGates::default(),
        documents: Documents::default(),
        folders: Folders::default(),
        refused: Arc::default(),
        pulses: pulses.clone(),
    };
    let (mut setup, mut known) = (setup, Known::new());
    // Lanes, also those whose last call is in flight while another configuration is in force already.
    let mut lanes = Supervisor::new(pulses.clone());
    let mut restarts = Restarts::default();
    let ended = loop {
        let one = live(&setup, &lasting, &mut parts, &mut lanes, &mut known);
        let one = pulses.of(ITSELF, one);
        match caught(ITSELF, one)
            .await
            .unwrap_or_else(|fault| Err(fault.into()))
        {
            Ok(Next::Ended(ended)) => break ended,
            Ok(Next::Reload(next)) => {
                setup = *next;
                setup.client.forget_token();
            }
            Err(error) if parts.mode == Mode::Serve && lasting.store.is_refused() => {
                error!("{error}; nothing is sent until the disk takes writes again");
                lanes.drain(Instant::now() + LAST_CALLS).await;
                lasting.store = reopen(
                    lasting.store,
                    error,
                    &mut setup,
                    &mut parts,
                    &lasting.refused,
                )
                .await?;
                known.clear();
            }
            Err(DaemonError::Fault(fault)) if parts.mode == Mode::Serve && fault.ours => {
                error!("{fault}");
                let Some(wait) = restarts.after_fault(Instant::now()) else {
                    lanes.drain(Instant::now() + LAST_CALLS).await;
                    return Err(fault.into());
                };
                warn!("all tasks start anew in {wait:?}");
                // What the tasks knew is gone.
                known.clear();
                if !pause(wait, &mut setup, &mut parts, &lasting.refused).await {
                    break Ended::Stopped;
                }
            }
            Err(error) => {
                error!("{error}");
                lanes.drain(Instant::now() + LAST_CALLS).await;
                return Err(error);
            }
        }
        let (now, clock) = (Instant::now(), Timestamp::now());
        lasting
            .gate
            .change(|gate: &mut Gate| gate.try_now(now, clock));
        lasting.lane_gates.try_now(now, clock);
    };
    lasting.budget.settle().await;
    let store = &lasting.store;
    let routes = setup.routes.clone();
    let mut left = store
        .call(move |store| store.leave().and_then(|()| gather(store, &routes)))
        .await?;
    left.calls = Some(lasting.budget.calls());
    // Last, as the file's folder may hang, or somebody have its turn with it.
    if timeout(LAST_TOKEN, setup.client.leave()).await.is_err() {
        warn!("not waiting any longer for the file of the person's token");
    }
    drop(lock);
    info!("stopped");
    Ok(Outcome {
        ended,
        written: lasting.written.load(Ordering::Relaxed),
        left,
    })
}

/// Waits before a new start; a configuration that comes meanwhile is taken. `false`: stop instead.
async fn pause(
    wait: Duration,
    setup: &mut Setup,
    parts: &mut Parts<'_>,
    refused: &AtomicBool,
) -> bool {
    let end = Instant::now() + wait;
    loop {
        let intent = tokio::select! {
            () = tokio::time::sleep_until(end) => return true,
            Some(intent) = parts.intents.recv() => intent,
        };
        match intent {
            Intent::Stop => return false,
            Intent::Reload => {
                if let Some(next) = reload(setup, parts, true, refused) {
                    *setup = next;
                    setup.client.forget_token();
                }
            }
            // The new start compares everything.
            Intent::Rescan | Intent::Report => {}
        }
    }
}

/// Runs one configuration.
async fn live(
    setup: &Setup,
    lasting: &Lasting,
    parts: &mut Parts<'_>,
    lanes: &mut Supervisor,
    known: &mut Known,
) -> Result<Next, DaemonError> {
    let text = setup.text;
    let routes = setup.routes.clone();
    let sends = move |file: &FileKey, address: &SlotAddress| {
        routes.send(&file.mapping, &file.path, address)
    };
    let Reconfigured {
        withdrawn,
        released,
    } = lasting
        .store
        .call(move |store| store.note_config(text, Timestamp::now(), sends))
        .await?;
    for (FileKey { mapping, path }, address) in withdrawn {
        info!(%mapping, file = %path, slot = %address.slot,
            "withdrawn: the configuration no longer sends this file there");
    }
    if released > 0 {
        info!(
            released,
            "the configuration changed: parked jobs are tried again"
        );
    }
    let feishu = &setup.config.feishu;
    lasting
        .budget
        .configure(&feishu.app_id, feishu.monthly_calls)
        .await;
    let run = Run::start(setup, lasting, lanes, known);
    run.live(setup, parts, lanes, known).await
}

/// The count of the month's calls.
async fn counted(state_dir: &Path) -> Result<Budget, DaemonError> {
    let dir = state_dir.to_owned();
    let failed = |source| DaemonError::StateDir {
        path: state_dir.to_owned(),
        source,
    };
    off_runtime(move || Budget::open(&dir))
        .await
        .map_err(failed)
}

async fn open(state_dir: &Path) -> Result<Store, StoreError> {
    let dir = state_dir.to_owned();
    let opened = off_runtime(move || store::open(&dir)).await?;
    if let Some(said) = &opened.said {
        error!("{said}");
    }
    if let Some(store::Rewritten { before, now }) = opened.rewritten {
        let before = ByteSize(before);
        match now {
            Ok(now) => info!(
                "the state was written anew: {} are in place of {before}",
                ByteSize(now)
            ),
            Err(error) => warn!(
                "the state of {before} could not be written anew, which the next start tries again: {error}"
            ),
        }
    }
    Ok(opened.store)
}

/// Opens the store anew until the disk takes it, with growing waits. A wish to stop ends it with what
/// went wrong; a configuration that comes meanwhile is taken.
async fn reopen(
    store: Store,
    cause: DaemonError,
    setup: &mut Setup,
    parts: &mut Parts<'_>,
    refused: &AtomicBool,
) -> Result<Store, DaemonError> {
    let state_dir = setup.config.state_dir.clone();
    // Until nobody holds it; then it is closed and the slot is empty.
    let (mut old, mut wait) = (Some(store), REOPEN_FIRST);
    let mut told = false;
    loop {
        if !pause(wait, setup, parts, refused).await {
            return Err(cause);
        }
        if old.is_some() && wait == REOPEN_MOST && !told {
            told = true;
            warn!(
                "the state is not closed yet: work that uses it hangs, mostly in a folder that does not answer"
            );
        }
        wait = (wait * 2).min(REOPEN_MOST);
        old = match old {
            Some(store) => off_runtime(move || store.close().err()).await,
            None => None,
        };
        if old.is_some() {
            continue;
        }
        match open(&state_dir).await {
            Ok(store) => {
                info!("the disk takes writes again");
                return Ok(store);
            }
            Err(error) if error.is_the_disks() => warn!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What follows on one configuration.
pub(super) enum Next {
    /// Nothing.
    Ended(Ended),
    /// Another one.
    Reload(Box<Setup>),
}

/// Makes the state directory, refuses one that is not safe, and takes its lock.
fn lock(dir: &Path, role: &str) -> Result<Lock, DaemonError> {
    let warning = store::prepare(dir).map_err(|source| DaemonError::StateDir {
        path: dir.into(),
        source,
    })?;
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    Ok(Lock::take(dir, role)?)
}
