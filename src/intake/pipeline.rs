//! The task between watcher and store: settles candidates, has a few of them read at a time, and
//! records what each means. Nothing here waits for the network.
//!
//! Bounded: [`WAITING_MOST`] paths wait; beyond that findings stay in their channel, listings pause and
//! events mark their folder for another listing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::decide::{Decision, Offer, decide};
use super::read::{Looked, look};
use super::settle::{Due, Settle};
use crate::config::MappingName;
use crate::placement::{Placement, RelPath, Route, SlotAddress};
use crate::store::{
    Arrival, FileKey, FileRecord, Fingerprint, Seen, Store, StoreError, Timestamp, Verdict,
};
use crate::watch::{Finding, Found};

/// Paths that may wait for a look.
const WAITING_MOST: usize = 8192;

/// How many listings of each mapping have been taken in, with everything they found.
pub type Digested = BTreeMap<MappingName, u64>;

/// What the task needs.
#[derive(Debug)]
pub struct Intake {
    /// The store.
    pub store: Store,
    /// From the watchers.
    pub findings: mpsc::Receiver<Finding>,
    /// Told after each listing.
    pub digested: watch::Sender<Digested>,
}

/// Takes findings until `stop`; looks that are under way are finished.
///
/// # Errors
/// When the store fails.
pub async fn run(intake: Intake, stop: CancellationToken) -> Result<(), StoreError> {
    let readers = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let mut task = Task {
        store: intake.store,
        digested: intake.digested,
        settle: Settle::default(),
        work: JoinSet::new(),
        looking: 0,
        sifting: BTreeMap::new(),
        listed: Vec::new(),
    };
    let mut findings = intake.findings;
    loop {
        while task.looking < readers
            && let Some(due) = task.settle.pop(Instant::now())
        {
            task.start_look(due);
        }
        task.tell_digested();
        let full = task.settle.len() >= WAITING_MOST || task.sifting.values().sum::<u32>() >= 4;
        let wake = task.settle.next_wake().filter(|_| task.looking < readers);
        tokio::select! {
            () = stop.cancelled() => break,
            finding = findings.recv(), if !full => match finding {
                Some(finding) => task.take(finding),
                None => break,
            },
            Some(done) = task.work.join_next() => task.finish(done)?,
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
    while let Some(done) = task.work.join_next().await {
        task.finish(done)?;
    }
    Ok(())
}

struct Task {
    store: Store,
    digested: watch::Sender<Digested>,
    settle: Settle,
    work: JoinSet<Result<Work, StoreError>>,
    looking: usize,
    /// Batches of listings being compared with the store, by mapping.
    sifting: BTreeMap<MappingName, u32>,
    /// Listings that ended and whose findings are still being looked at.
    listed: Vec<(Arc<Route>, bool)>,
}

/// What a thread did.
enum Work {
    /// Compared a batch of a listing; these differ from what is known.
    Sifted {
        mapping: MappingName,
        differ: Vec<Due>,
    },
    /// Looked at one file.
    Looked {
        key: FileKey,
        again: Option<Box<Due>>,
    },
    /// Forgot files that are gone.
    Pruned,
}

impl Task {
    fn take(&mut self, finding: Finding) {
        match finding {
            Finding::Candidate(candidate) => self.settle.observe(candidate, Instant::now()),
            Finding::Found { route, files, tick } => {
                let mapping = route.mapping.name.clone();
                *self.sifting.entry(mapping.clone()).or_default() += 1;
                let store = self.store.clone();
                self.work.spawn_blocking(move || {
                    Ok(Work::Sifted {
                        mapping,
                        differ: sift(&store, &route, files, tick)?,
                    })
                });
            }
            Finding::Listed { route, whole } => self.listed.push((route, whole)),
        }
    }

    fn start_look(&mut self, due: Due) {
        self.looking += 1;
        let store = self.store.clone();
        self.work.spawn_blocking(move || {
            let again = look_and_record(&store, &due)?;
            Ok(Work::Looked {
                key: due.key(),
                again: again.map(Box::new),
            })
        });
    }

    fn finish(
        &mut self,
        done: Result<Result<Work, StoreError>, tokio::task::JoinError>,
    ) -> Result<(), StoreError> {
        let now = Instant::now();
        let done = match done {
            Ok(done) => done?,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => return Ok(()),
        };
        match done {
            Work::Sifted { mapping, differ } => {
                for due in differ {
                    let age = due.found.map_or(Duration::ZERO, age);
                    self.settle.observe_found(due, age, now);
                }
                if let Some(batches) = self.sifting.get_mut(&mapping) {
                    *batches = batches.saturating_sub(1);
                }
            }
            Work::Looked { key, again } => {
                self.looking -= 1;
                self.settle.done(&key);
                if let Some(again) = again {
                    self.settle.again(*again, now);
                }
            }
            Work::Pruned => {}
        }
        Ok(())
    }

    /// Tells of listings whose findings have all been looked at.
    fn tell_digested(&mut self) {
        let (settle, sifting) = (&self.settle, &self.sifting);
        let over: Vec<_> = self
            .listed
            .extract_if(.., |(route, _)| {
                let name = &route.mapping.name;
                sifting.get(name).is_none_or(|batches| *batches == 0) && !settle.awaits(name)
            })
            .collect();
        for (route, whole) in over {
            let name = route.mapping.name.clone();
            self.digested
                .send_modify(|digested| *digested.entry(name).or_default() += 1);
            if whole {
                let store = self.store.clone();
                self.work.spawn_blocking(move || {
                    prune(&store, &route)?;
                    Ok(Work::Pruned)
                });
            }
        }
    }
}

/// Time since a file's last change, as far as the clocks agree.
fn age(fingerprint: Fingerprint) -> Duration {
    let changed = u64::try_from(fingerprint.mtime.max(fingerprint.ctime)).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::from_nanos(changed);
    // A change in the future is a clock that runs ahead: it says nothing, so the file is left to settle.
    changed.elapsed().unwrap_or(Duration::ZERO)
}

/// Compares a batch of a listing with what is known; opens no file.
fn sift(
    store: &Store,
    route: &Arc<Route>,
    files: Vec<Found>,
    tick: u64,
) -> Result<Vec<Due>, StoreError> {
    let mut differ = Vec::new();
    for Found { path, fingerprint } in files {
        let key = FileKey {
            mapping: route.mapping.name.clone(),
            path: path.clone(),
        };
        let known = store.file(&key)?;
        let place = place(route, &path);
        let same = match (&place, &known) {
            (Place::None, None) => true,
            (_, Some(known)) => {
                known.fingerprint == fingerprint && known.slot.as_ref() == place.slot()
            }
            _ => false,
        };
        if !same {
            let found = Some(fingerprint);
            let route = Arc::clone(route);
            differ.push(Due {
                route,
                path,
                tick,
                found,
                quiet_as: None,
                counted: true,
            });
        }
    }
    Ok(differ)
}

/// Where the rules send a file.
enum Place {
    Slot(SlotAddress),
    Unplaceable(String),
    None,
}

impl Place {
    fn slot(&self) -> Option<&SlotAddress> {
        match self {
            Self::Slot(address) => Some(address),
            _ => None,
        }
    }
}

fn place(route: &Route, path: &RelPath) -> Place {
    match route.rules.place(path) {
        Placement::Slot { slot, .. } => Place::Slot(slot),
        Placement::Unplaceable { reason, .. } => Place::Unplaceable(reason),
        Placement::Ignored { .. } | Placement::NoRule => Place::None,
    }
}

/// Looks at one file and records what it means. Returns it when it is to be looked at again.
fn look_and_record(store: &Store, due: &Due) -> Result<Option<Due>, StoreError> {
    let (key, now) = (due.key(), Timestamp::now());
    let mapping = &due.route.mapping;
    let place = place(&due.route, &due.path);
    let known = store.file(&key)?;
    if let Place::None = place {
        if known.is_some() {
            store.forget(&key, now)?;
        }
        return Ok(None);
    }
    let on_disk = mapping.folder.join(due.path.as_path()).symlink_metadata();
    let unchanged = |known: &FileRecord| {
        known.slot.as_ref() == place.slot()
            && on_disk
                .as_ref()
                .is_ok_and(|meta| Fingerprint::of(meta) == known.fingerprint)
    };
    if known.as_ref().is_some_and(unchanged) {
        return Ok(None);
    }
    let looked = look(&mapping.folder, &due.path, mapping.max_bytes, due.quiet_as);
    let refuse = |fingerprint, verdict, reason: String| {
        refuse(
            store,
            &key,
            known.as_ref(),
            &place,
            fingerprint,
            verdict,
            reason,
            now,
        )
    };
    match (looked, &place) {
        (
            Looked::Image {
                fingerprint,
                hash,
                format,
            },
            Place::Slot(address),
        ) => {
            let record = FileRecord {
                fingerprint,
                slot: Some(address.clone()),
                seen: Seen::Image { hash, format },
                at: now,
            };
            let offer = Offer {
                id: store.next_id()?,
                hash,
                format,
                fingerprint,
                source: key.clone(),
                arrival: arrival(store, due),
                now,
                min_interval: mapping.min_interval,
            };
            let decision = store.take_image(&key, &record, address, |slot| decide(slot, &offer))?;
            tell(&key, address, &offer, decision);
        }
        (Looked::Image { fingerprint, .. }, Place::Unplaceable(reason)) => {
            refuse(fingerprint, Verdict::Rejected, reason.clone())?;
        }
        (
            Looked::Rejected {
                fingerprint,
                reason,
            },
            _,
        ) => {
            refuse(fingerprint, Verdict::Rejected, reason)?;
        }
        (
            Looked::Held {
                fingerprint,
                reason,
            },
            _,
        ) => refuse(fingerprint, Verdict::Held, reason)?,
        (Looked::Unsettled(fingerprint), _) => {
            return Ok(Some(Due {
                quiet_as: Some(fingerprint),
                ..due.clone()
            }));
        }
        (Looked::Changed, _) => {
            return Ok(Some(Due {
                quiet_as: None,
                ..due.clone()
            }));
        }
        (Looked::Gone | Looked::NoFile, _) => {
            if known.is_some() {
                debug!(mapping = %mapping.name, file = %due.path, "gone");
                store.forget(&key, now)?;
            }
        }
        (Looked::Image { .. }, Place::None) => {}
    }
    Ok(None)
}

fn arrival(store: &Store, due: &Due) -> Arrival {
    let (epoch, tick) = (store.epoch(), due.tick);
    match due.found {
        Some(found) => {
            let name = due.path.as_bytes().to_vec();
            Arrival {
                epoch,
                tick,
                mtime: found.mtime,
                name,
            }
        }
        None => Arrival {
            epoch,
            tick,
            mtime: 0,
            name: Vec::new(),
        },
    }
}

fn tell(key: &FileKey, address: &SlotAddress, offer: &Offer, decision: Decision) {
    let FileKey { mapping, path } = key;
    let (slot, hash) = (&address.slot, offer.hash);
    match decision {
        Decision::StaysParked => {
            info!(%mapping, file = %path, %slot, %hash, "new image for a slot that is parked; see `pixcell status`");
        }
        decision => debug!(%mapping, file = %path, %slot, %hash, ?decision, "image"),
    }
}

#[allow(clippy::too_many_arguments)] // One call, whose every part is a different thing.
fn refuse(
    store: &Store,
    key: &FileKey,
    known: Option<&FileRecord>,
    place: &Place,
    fingerprint: Fingerprint,
    verdict: Verdict,
    reason: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    let seen = Seen::Refused { verdict, reason };
    let FileKey { mapping, path } = key;
    // Once per cause: a file that grows slowly is looked at often.
    let told = known.is_some_and(|known| match (&known.seen, verdict) {
        (
            Seen::Refused {
                verdict: before, ..
            },
            Verdict::Held,
        ) => *before == Verdict::Held,
        (before, Verdict::Rejected) => *before == seen,
        _ => false,
    });
    if let Seen::Refused { reason, .. } = &seen
        && !told
    {
        let slot = place
            .slot()
            .map(|address| address.slot.to_string())
            .unwrap_or_default();
        match verdict {
            Verdict::Rejected => warn!(%mapping, file = %path, slot, "rejected: {reason}"),
            Verdict::Held => info!(%mapping, file = %path, slot, "held until it changes: {reason}"),
        }
    }
    let record = FileRecord {
        fingerprint,
        slot: place.slot().cloned(),
        seen,
        at: now,
    };
    store.refuse(key, &record)
}

/// Forgets files that a whole listing did not find. Without its folder nothing is forgotten: an
/// unmounted disk is not a deletion.
fn prune(store: &Store, route: &Route) -> Result<(), StoreError> {
    let mapping = &route.mapping;
    for entry in store.files_of(&mapping.name) {
        let (key, _) = entry?;
        let gone = |path: &std::path::Path| matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        if gone(&mapping.folder.join(key.path.as_path())) && mapping.folder.is_dir() {
            store.forget(&key, Timestamp::now())?;
        }
    }
    Ok(())
}
