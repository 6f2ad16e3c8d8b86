//! A lane: the serial uploader of one spreadsheet. It takes the job that is due first, sends it, and
//! records what came of it. One call in flight, whatever happens.
//!
//! Waits end when the daemon stops; a call in flight is left to finish and is cut off by the task's
//! owner when its time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::gate::{Closed, Gate, Pass, SharedGate};
use super::react::{Reaction, back_off, react};
use super::resolve::{Document, NoTarget};
use crate::blocking::off_runtime;
use crate::config::{SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Class, Client, Outcome, Picture, Receipt, Refusal, image_name};
use crate::intake::open_beneath;
use crate::placement::{Routes, SlotAddress};
use crate::store::{
    FileKey, Fingerprint, Job, Parked, Release, Store, StoreError, Target, Timestamp, Waiting,
};

/// A due time further away than this comes from a clock that was set back: the job is due now.
const FURTHEST_DUE: Duration = Duration::from_hours(24);

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
    /// Told of what happens, for people; whoever lags misses some.
    pub events: broadcast::Sender<LaneEvent>,
    /// Files that changed after they were hashed, to be looked at again.
    pub stale: mpsc::Sender<FileKey>,
    /// One call in flight a document, even when two lanes name it differently.
    pub documents: Documents,
}

/// A lock a document.
#[derive(Debug, Clone, Default)]
pub struct Documents(Arc<Mutex<HashMap<SpreadsheetToken, Arc<tokio::sync::Mutex<()>>>>>);

impl Documents {
    fn of(&self, token: &SpreadsheetToken) -> Arc<tokio::sync::Mutex<()>> {
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

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum LaneState {
    /// The folders are being compared.
    #[default]
    Starting,
    /// Nothing is due.
    Idle,
    /// A call is in flight.
    Sending {
        /// The file.
        file: String,
        /// The slot.
        slot: String,
        /// Since when.
        since: Timestamp,
    },
    /// It waits after a failure.
    Waiting {
        /// What failed.
        why: String,
        /// Calls that failed in a row.
        failures: u32,
        /// Until when.
        until: Timestamp,
    },
}

/// What happened in a lane.
#[derive(Debug, Clone)]
pub enum LaneEvent {
    /// A picture is in its cell.
    Written {
        /// The file.
        source: FileKey,
        /// The slot.
        address: SlotAddress,
        /// The cell.
        target: Target,
        /// The sheet's version, when the answer told it.
        revision: Option<u64>,
        /// The picture's length in bytes.
        bytes: u64,
        /// From the first byte of the call to its answer.
        took: Duration,
    },
    /// A job was parked.
    Parked {
        /// The file.
        source: FileKey,
        /// The slot.
        address: SlotAddress,
        /// Why.
        reason: String,
    },
    /// A call failed and will be repeated.
    Failed {
        /// The document.
        spreadsheet: SpreadsheetRef,
        /// Why.
        reason: String,
        /// Calls of this lane that failed in a row.
        failures: u32,
    },
    /// A gate closed that a person has to open.
    GateClosed {
        /// Why, and what to do.
        reason: String,
    },
}

/// What became of one turn.
type Turn = Result<(), StoreError>;

/// Sends what is due until `stop`.
///
/// # Errors
/// When the store fails.
pub async fn run(lane: Lane, stop: CancellationToken) -> Result<(), StoreError> {
    let mut compared = lane.compared.clone();
    let ready = async { compared.wait_for(|compared| *compared).await.is_ok() };
    if stop.run_until_cancelled(ready).await != Some(true) {
        return Ok(());
    }
    lane.state.send_replace(LaneState::Idle);
    let mut worker = Worker {
        lane,
        document: Document::default(),
        failures: 0,
    };
    while let Some(waiting) = stop.run_until_cancelled(worker.next()).await {
        // Not cancelled: a call in flight is finished.
        let (waiting, probing) = waiting?;
        worker.turn(waiting, probing).await?;
    }
    Ok(())
}

struct Worker {
    lane: Lane,
    document: Document,
    /// Calls that failed in a row.
    failures: u32,
}

impl Worker {
    fn shared(&self) -> &Shared {
        &self.lane.shared
    }

    /// Waits for a job that is due and for both gates.
    async fn next(&self) -> Result<(Waiting, bool), StoreError> {
        let waker = self.shared().store.waker(&self.lane.spreadsheet);
        loop {
            let spreadsheet = self.lane.spreadsheet.clone();
            let woken = waker.notified();
            let next = self
                .shared()
                .store
                .call(move |store| store.next(&spreadsheet))
                .await?;
            let Some(waiting) = next else {
                self.lane.state.send_replace(LaneState::Idle);
                woken.await;
                continue;
            };
            let wait = waiting.due.since(Timestamp::now());
            if !wait.is_zero() && wait < FURTHEST_DUE {
                let _ = tokio::time::timeout(wait, woken).await;
                continue;
            }
            // The lane's own gate first: it must not hold a probe of the app's while it waits.
            let own = self.lane.gate.pass().await;
            let app = self.shared().gate.pass().await;
            let probing = own == Pass::Probe || app == Pass::Probe;
            // Newer content may have come while the gates were closed.
            let spreadsheet = self.lane.spreadsheet.clone();
            match self
                .shared()
                .store
                .call(move |store| store.next(&spreadsheet))
                .await?
            {
                Some(waiting) => return Ok((waiting, probing)),
                None => self.give_back_probes(),
            }
        }
    }

    fn give_back_probes(&self) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        self.lane.gate.change(|gate| gate.inconclusive(now, clock));
        self.shared()
            .gate
            .change(|gate| gate.inconclusive(now, clock));
    }

    /// Sends one job and records what came of it.
    async fn turn(&mut self, waiting: Waiting, probing: bool) -> Turn {
        let done = self.send(waiting).await;
        self.lane.state.send_modify(|state| {
            if matches!(state, LaneState::Sending { .. }) {
                *state = LaneState::Idle;
            }
        });
        if probing {
            // Whatever was learnt has changed the gates already; a probe that learnt nothing ends here.
            self.give_back_probes();
        }
        done
    }

    async fn send(&mut self, Waiting { address, job, .. }: Waiting) -> Turn {
        let Some(route) = self.shared().routes.of(&job.source.mapping).cloned() else {
            return self.withdraw(address, job).await;
        };
        if route.address(&job.source.path).as_ref() != Some(&address) {
            return self.withdraw(address, job).await;
        }
        let picture = match open(&route.mapping.folder, &job).await {
            Ok(picture) => picture,
            Err(Unopened::Gone) => {
                info!(mapping = %job.source.mapping, file = %job.source.path, slot = %address.slot,
                    "gone before it was sent");
                let key = job.source.clone();
                return self
                    .store(move |store| store.forget(&key, Timestamp::now()))
                    .await;
            }
            Err(Unopened::Changed) => return self.stale(address, job).await,
        };
        let client = self.shared().client.clone();
        let target = match self.document.target(&client, &address).await {
            Ok(target) => target,
            Err(NoTarget::Call(error)) => return self.failed(address, job, error, true).await,
            Err(NoTarget::Nowhere(reason)) => {
                return self.park(address, job, reason, None, Release::Person).await;
            }
        };
        let document = self.shared().documents.of(&target.spreadsheet);
        let _serial = document.lock().await;
        let began = Timestamp::now();
        let begun = {
            let (address, job) = (address.clone(), job.clone());
            self.shared()
                .store
                .call(move |store| store.begin(&address, &job, began))
                .await?
        };
        if !begun {
            debug!(slot = %address.slot, "a newer version came");
            return Ok(());
        }
        self.lane.state.send_replace(LaneState::Sending {
            file: job.source.path.to_string(),
            slot: address.slot.to_string(),
            since: began,
        });
        let (start, name) = (
            Instant::now(),
            image_name(job.source.path.file_name(), job.format),
        );
        let written = client
            .write_image(
                &target.spreadsheet,
                &target.sheet,
                target.cell,
                &name,
                &picture,
            )
            .await;
        match written {
            Ok(receipt) => {
                let took = start.elapsed();
                self.written(
                    address,
                    job,
                    target,
                    receipt,
                    took,
                    route.mapping.min_interval,
                )
                .await
            }
            Err(CallError::Source(fault)) => {
                debug!(mapping = %job.source.mapping, file = %job.source.path, "{fault}");
                self.stale(address, job).await
            }
            Err(error) => {
                let job = Job {
                    attempts: job.attempts + 1,
                    ..job
                };
                self.failed(address, job, error, false).await
            }
        }
    }

    async fn written(
        &mut self,
        address: SlotAddress,
        job: Job,
        target: Target,
        receipt: Receipt,
        took: Duration,
        min_interval: Duration,
    ) -> Turn {
        let (now, revision) = (Timestamp::now(), receipt.revision);
        {
            let (address, job, target) = (address.clone(), job.clone(), target.clone());
            self.store(move |store| {
                store.written(
                    &address,
                    &job,
                    &target,
                    revision,
                    now,
                    now.after(min_interval),
                )
            })
            .await?;
        }
        self.got_through();
        let FileKey { mapping, path } = &job.source;
        info!(%mapping, file = %path, slot = %address.slot, cell = %target,
            revision = revision.map(tracing::field::display), hash = %job.hash,
            bytes = job.fingerprint.size, took = ?took, "written");
        self.tell(LaneEvent::Written {
            bytes: job.fingerprint.size,
            source: job.source,
            address,
            target,
            revision,
            took,
        });
        Ok(())
    }

    /// Both gates are open, and the next failure is a first one.
    fn got_through(&mut self) {
        if self.failures > 0 {
            info!(spreadsheet = %self.lane.spreadsheet, failures = self.failures, "calls succeed again");
            self.failures = 0;
        }
        let (own, app) = (
            self.lane.gate.change(Gate::open),
            self.shared().gate.change(Gate::open),
        );
        if own || app {
            info!(spreadsheet = %self.lane.spreadsheet, "sending again");
        }
    }

    /// `resolving`: the call asked for the document's sheets, and the cell was not touched.
    async fn failed(
        &mut self,
        address: SlotAddress,
        job: Job,
        error: CallError,
        resolving: bool,
    ) -> Turn {
        let class = error.class().unwrap_or(Class::Busy);
        let untouched = resolving || error.outcome() == Outcome::Untouched;
        // Asking for the sheets is no attempt at the job; its tries are bounded all the same.
        let attempts = if resolving {
            self.failures
        } else {
            job.attempts
        };
        let reaction = react(class, attempts, self.failures, error.wait());
        self.failures = self.failures.saturating_add(1);
        if matches!(class, Class::Document | Class::Cell) {
            self.document.forget();
        }
        let (now, clock, reason) = (Instant::now(), Timestamp::now(), error.to_string());
        let FileKey { mapping, path } = &job.source;
        let slot = &address.slot;
        let due = match reaction {
            Reaction::Park(until) => {
                self.failures = 0;
                return self.park(address, job, reason, Some(&error), until).await;
            }
            Reaction::CloseApp(probes) => {
                self.close(
                    &self.shared().gate,
                    "the app",
                    &job,
                    slot,
                    &reason,
                    |gate| {
                        gate.close(&reason, probes, now, clock);
                    },
                );
                clock
            }
            Reaction::CloseLane(probes) => {
                self.close(
                    &self.lane.gate,
                    "this spreadsheet",
                    &job,
                    slot,
                    &reason,
                    |gate| {
                        gate.close(&reason, probes, now, clock);
                    },
                );
                clock
            }
            Reaction::PauseApp(wait) => {
                warn!(%mapping, file = %path, %slot, "{reason}; all calls wait for {wait:.1?}");
                self.shared()
                    .gate
                    .change(|gate| gate.pause(&reason, wait, now, clock));
                clock
            }
            Reaction::PauseLane(_) | Reaction::BackOff => {
                let wait = match reaction {
                    Reaction::PauseLane(wait) => wait,
                    _ => back_off(self.failures - 1),
                };
                warn!(%mapping, file = %path, %slot, failures = self.failures, "{reason}; next try in {wait:.1?}");
                self.lane
                    .gate
                    .change(|gate| gate.pause(&reason, wait, now, clock));
                self.lane.state.send_replace(LaneState::Waiting {
                    why: reason.clone(),
                    failures: self.failures,
                    until: clock.after(wait),
                });
                // Behind the others, so that one job that always fails does not hold them up.
                clock.after(back_off(job.attempts.saturating_sub(1)).min(wait))
            }
        };
        self.tell(LaneEvent::Failed {
            spreadsheet: self.lane.spreadsheet.clone(),
            reason,
            failures: self.failures,
        });
        self.store(move |store| store.postpone(&address, &job, due, untouched))
            .await
    }

    fn close(
        &self,
        gate: &SharedGate,
        whose: &str,
        job: &Job,
        slot: &crate::placement::Slot,
        reason: &str,
        close: impl FnOnce(&mut Gate),
    ) {
        let before = gate.closed().filter(|closed| !closed.passing);
        gate.change(close);
        let FileKey { mapping, path } = &job.source;
        // Told when it closes and when the reason changes, not at every probe.
        if before.is_none_or(|before| before.reason != *reason) {
            warn!(%mapping, file = %path, %slot, "nothing is sent for {whose}: {reason}");
        }
        self.tell(LaneEvent::GateClosed {
            reason: reason.to_owned(),
        });
    }

    async fn park(
        &mut self,
        address: SlotAddress,
        job: Job,
        reason: String,
        error: Option<&CallError>,
        until: Release,
    ) -> Turn {
        let refusal: Option<&Refusal> = match error {
            Some(CallError::Refused(refusal)) => Some(refusal),
            _ => None,
        };
        let FileKey { mapping, path } = &job.source;
        warn!(%mapping, file = %path, slot = %address.slot, "parked: {reason}");
        let parked = Parked {
            reason: reason.clone(),
            code: refusal.and_then(|refusal| refusal.code),
            log_id: refusal.and_then(|refusal| refusal.log_id.clone()),
            at: Timestamp::now(),
            until,
        };
        self.tell(LaneEvent::Parked {
            source: job.source.clone(),
            address: address.clone(),
            reason,
        });
        self.store(move |store| store.park(&address, &job, &parked))
            .await
    }

    async fn stale(&self, address: SlotAddress, job: Job) -> Turn {
        debug!(mapping = %job.source.mapping, file = %job.source.path, slot = %address.slot,
            "changed since it was hashed; looking again");
        let key = job.source.clone();
        self.store(move |store| store.set_stale(&address, &job))
            .await?;
        // Full: the next listing finds it.
        let _ = self.shared().stale.try_send(key);
        Ok(())
    }

    async fn withdraw(&self, address: SlotAddress, job: Job) -> Turn {
        info!(mapping = %job.source.mapping, file = %job.source.path, slot = %address.slot,
            "withdrawn: the configuration no longer sends this file there");
        self.store(move |store| store.withdraw(&address, &job))
            .await
    }

    async fn store(&self, work: impl FnOnce(&Store) -> Turn + Send + 'static) -> Turn {
        self.shared().store.call(work).await
    }

    fn tell(&self, event: LaneEvent) {
        // Nobody listening is fine.
        let _ = self.shared().events.send(event);
    }
}

enum Unopened {
    Gone,
    Changed,
}

/// Opens a job's file, when it still is what was hashed.
async fn open(folder: &std::path::Path, job: &Job) -> Result<Picture, Unopened> {
    let (folder, path, expected, hash) = (
        folder.to_owned(),
        job.source.path.clone(),
        job.fingerprint,
        job.hash,
    );
    off_runtime(move || {
        let file = open_beneath(&folder, &path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Unopened::Gone,
            _ => Unopened::Changed,
        })?;
        let now = file.metadata().map(|meta| Fingerprint::of(&meta));
        match now {
            Ok(now) if now == expected => Ok(Picture {
                file: Arc::new(file),
                length: expected.size,
                hash,
            }),
            _ => Err(Unopened::Changed),
        }
    })
    .await
}

/// Why the lanes of a service send nothing, for people.
impl Closed {
    /// One line.
    pub fn line(&self) -> String {
        format!(
            "{} (since {}, next try {})",
            self.reason, self.since, self.until
        )
    }
}
