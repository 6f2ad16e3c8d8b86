//! The task between watcher and store: settles candidates, has a few of them read at a time, and
//! records what each means. Nothing here waits for the network.
//!
//! Bounded: [`WAITING_MOST`] paths wait; beyond that findings stay in their channel, listings pause and
//! events mark their folder for another listing. A folder that hangs keeps nobody waiting: what is found in
//! it is not kept, and it is listed when it answers again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::copies::Copies;
use super::decide::{Decision, Offer, decide, is_outdated};
use super::read::{Looked, Rest, look_and_copy};
use super::readers::{Beat, Change};
use super::settle::{Due, Settle};
use crate::config::MappingName;
use crate::placement::{Placement, RelPath, Route, Routes, SlotAddress};
use crate::pulse::{waiting, within};
use crate::store::{
    Arrival, FileKey, FileRecord, Fingerprint, PathHash, Placed, Seen, SlotRecord, Store,
    StoreError, Timestamp, Verdict,
};
use crate::watch::{Candidate, Finding, Found, Hearing, Hint, Met, Ticks};

/// Larger files, in bytes, take more than a millisecond or two to read, and leave a reader for smaller ones.
const LARGE_BYTES: u64 = 1 << 20;
/// Paths that may wait for a look.
const WAITING_MOST: usize = 8192;
/// Batches of listings that are compared with the store at a time.
const SIFTING_MOST: u32 = 4;

/// How many listings of each mapping have been taken in, with everything they found.
pub type Digested = BTreeMap<MappingName, u64>;

/// Mappings whose files cannot be read, though their folders may well be listed, and what hangs.
pub type Unread = BTreeMap<MappingName, String>;

/// What the task needs.
#[derive(Debug)]
pub struct Intake {
    /// The store.
    pub store: Store,
    /// The configured mappings.
    pub routes: Routes,
    /// Copies of files that do not rest.
    pub copies: Copies,
    /// The run's ticks.
    pub ticks: Arc<Ticks>,
    /// Candidates from the watchers.
    pub findings: mpsc::Receiver<Finding>,
    /// Listings from the watchers; each message is large, so few may wait.
    pub listings: mpsc::Receiver<Finding>,
    /// Told after each listing, and when nobody should wait for one that hangs.
    pub digested: watch::Sender<Digested>,
    /// Told of folders whose files cannot be read.
    pub unread: watch::Sender<Unread>,
    /// Woken to have a folder listed that hung.
    pub rescan: BTreeMap<MappingName, Arc<Notify>>,
    /// To know what the kernel has told of a folder.
    pub hearing: BTreeMap<MappingName, Arc<Hearing>>,
}

/// Takes findings until `stop`; looks that are under way are finished.
///
/// # Errors
/// When the store fails.
pub async fn run(intake: Intake, stop: CancellationToken) -> Result<(), StoreError> {
    within(Duration::ZERO, attend(intake, stop)).await
}

async fn attend(intake: Intake, stop: CancellationToken) -> Result<(), StoreError> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let each = cores;
    let Intake {
        store,
        routes,
        copies,
        ticks,
        mut findings,
        mut listings,
        digested,
        unread,
        rescan,
        hearing,
    } = intake;
    let mut task = Task {
        context: Context {
            store,
            routes,
            copies,
            hearing: Arc::new(hearing),
        },
        ticks,
        digested,
        unread,
        rescan,
        settle: Settle::default(),
        work: JoinSet::new(),
        missed: BTreeSet::new(),
        sifting: BTreeMap::new(),
        listed: Vec::new(),
    };
    loop {
        let now = Instant::now();
        for change in task.settle.judge(now) {
            task.take_change(change);
        }
        while let Some((due, beat)) = task.settle.pop(now, each) {
            task.start_look(due, beat);
        }
        task.tell_digested();
        let full = task.settle.held() >= WAITING_MOST;
        let sifting = task.sifting.values().sum::<u32>() >= SIFTING_MOST;
        let wake = task.settle.next_wake(each);
        let woken = waiting(async {
            tokio::select! {
                () = stop.cancelled() => Woken::Stop,
                Some(finding) = findings.recv(), if !full => Woken::Finding(finding),
                Some(finding) = listings.recv(), if !full && !sifting => Woken::Finding(finding),
                Some(done) = task.work.join_next() => Woken::Done(done),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Woken::Due,
            }
        });
        match woken.await {
            Woken::Stop => break,
            Woken::Finding(finding) => task.take(finding),
            Woken::Done(done) => {
                // What was told before it ended comes first: who finds a file by listing waits for that.
                for _ in 0..findings.len() {
                    findings
                        .try_recv()
                        .into_iter()
                        .for_each(|finding| task.take(finding));
                }
                task.finish(done)?;
            }
            Woken::Due => {}
        }
    }
    // Whoever waits to hand over is let go before the last looks are waited for.
    drop((findings, listings));
    while let Some(done) = waiting(task.work.join_next()).await {
        task.finish(done)?;
    }
    Ok(())
}

/// How work on a thread ended.
type Done = Result<Result<Work, StoreError>, tokio::task::JoinError>;

/// What there is to do.
enum Woken {
    Stop,
    Finding(Finding),
    Done(Done),
    Due,
}

/// What looks need.
#[derive(Clone)]
struct Context {
    store: Store,
    routes: Routes,
    copies: Copies,
    hearing: Arc<BTreeMap<MappingName, Arc<Hearing>>>,
}

struct Task {
    context: Context,
    ticks: Arc<Ticks>,
    digested: watch::Sender<Digested>,
    unread: watch::Sender<Unread>,
    rescan: BTreeMap<MappingName, Arc<Notify>>,
    settle: Settle,
    work: JoinSet<Result<Work, StoreError>>,
    /// Mappings of which something was not kept.
    missed: BTreeSet<MappingName>,
    /// Batches of listings being compared with the store, by mapping.
    sifting: BTreeMap<MappingName, u32>,
    /// Listings that ended and whose findings are still being looked at.
    listed: Vec<(Arc<Route>, Option<Met>)>,
}

/// What a thread did.
enum Work {
    /// Compared a batch of a listing; these differ from what is known.
    Sifted {
        mapping: MappingName,
        differ: Vec<Due>,
    },
    /// Looked at one file.
    Looked { key: FileKey, next: Next },
    /// Found known files that are no longer there.
    Pruned {
        route: Arc<Route>,
        gone: Vec<RelPath>,
    },
}

/// What a look leads to.
enum Next {
    /// Nothing.
    Nothing,
    /// The same file again, after a quiet time.
    Again(Box<Due>),
    /// The same file again at once, unless an event tells of it: what the kernel had to tell is told now.
    Heard(Box<Due>),
    /// It was not read: it is large.
    Large(Box<Due>),
    /// Other files that were for the slot of one that is gone.
    Others(Vec<Due>),
}

impl Task {
    fn take(&mut self, finding: Finding) {
        if let Finding::Candidate(Candidate { route, .. }) | Finding::Found { route, .. } = &finding
        {
            let name = &route.mapping.name;
            if self.settle.is_stuck(name) {
                self.missed.insert(name.clone());
                return;
            }
        }
        match finding {
            Finding::Candidate(candidate) => self.settle.observe(candidate, Instant::now()),
            Finding::Found {
                route,
                files,
                tick,
                first,
            } => {
                let mapping = route.mapping.name.clone();
                *self.sifting.entry(mapping.clone()).or_default() += 1;
                let context = self.context.clone();
                self.work.spawn_blocking(move || {
                    let differ = sift(&context.store, &route, files, (tick, first))?;
                    if !differ.is_empty() {
                        // When that cannot be known, the listing is believed.
                        let _ = context.catch_up(&mapping);
                    }
                    Ok(Work::Sifted { mapping, differ })
                });
            }
            Finding::Listed { route, met } => self.listed.push((route, met)),
        }
    }

    /// A folder hangs, or goes on.
    fn take_change(&mut self, change: Change) {
        match change {
            Change::Stuck(FileKey { mapping, path }) => {
                let folder = self.context.routes.of(&mapping);
                let folder = folder.map(|route| route.mapping.folder.display().to_string());
                warn!(%mapping, "{} does not answer: reading {path} hangs; waiting for it",
                    folder.unwrap_or_default());
                self.unread.send_modify(|unread| {
                    unread.insert(mapping.clone(), format!("reading {path} hangs"));
                });
                self.missed.insert(mapping);
            }
            Change::Moves(mapping) => {
                info!(%mapping, "files can be read again");
                self.unread.send_modify(|unread| {
                    unread.remove(&mapping);
                });
                if self.missed.remove(&mapping)
                    && let Some(rescan) = self.rescan.get(&mapping)
                {
                    rescan.notify_one();
                }
            }
        }
    }

    fn start_look(&mut self, due: Due, beat: Beat) {
        let context = self.context.clone();
        self.work.spawn_blocking(move || {
            let begun = Instant::now();
            let next = look_and_record(&context, &due, &beat)?;
            histogram!("pixcell_stage_seconds", "stage" => "look").record(begun.elapsed());
            Ok(Work::Looked {
                key: due.key(),
                next,
            })
        });
    }

    fn finish(&mut self, done: Done) -> Result<(), StoreError> {
        let now = Instant::now();
        let done = match done {
            Ok(done) => done?,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => return Ok(()),
        };
        match done {
            Work::Sifted { mapping, differ } => {
                for due in differ {
                    let age = due.found.map_or(Duration::ZERO, |found| found.age());
                    self.settle.observe_found(due, age, now);
                }
                if let Some(batches) = self.sifting.get_mut(&mapping) {
                    *batches = batches.saturating_sub(1);
                }
            }
            Work::Looked { key, next } => {
                self.settle.done(&key);
                if !matches!(next, Next::Large(_) | Next::Heard(_)) {
                    let mapping = key.mapping.to_string();
                    counter!("pixcell_candidates_total", "mapping" => mapping).increment(1);
                }
                match next {
                    Next::Nothing => {}
                    Next::Again(due) => self.settle.again(*due, now),
                    Next::Heard(due) => self.settle.again_at_once(*due, now),
                    Next::Large(due) => self.settle.again_as_large(*due, now),
                    Next::Others(others) => {
                        for due in others {
                            self.settle.observe_found(due, Duration::MAX, now);
                        }
                    }
                }
            }
            Work::Pruned { route, gone } => {
                for path in gone {
                    let (route, tick) = (Arc::clone(&route), self.ticks.next());
                    let candidate = Candidate {
                        route,
                        path,
                        hint: Hint::Gone,
                        tick,
                    };
                    self.settle.observe(candidate, now);
                }
            }
        }
        Ok(())
    }

    /// Tells of listings whose findings have all been looked at, or cannot be.
    fn tell_digested(&mut self) {
        let (settle, sifting) = (&self.settle, &self.sifting);
        let over: Vec<_> = self
            .listed
            .extract_if(.., |(route, _)| {
                let name = &route.mapping.name;
                let over = sifting.get(name).is_none_or(|batches| *batches == 0);
                over && (settle.is_stuck(name) || !settle.awaits(name))
            })
            .collect();
        for (route, met) in over {
            let name = route.mapping.name.clone();
            self.digested
                .send_modify(|digested| *digested.entry(name).or_default() += 1);
            if let Some(met) = met {
                let store = self.context.store.clone();
                self.work.spawn_blocking(move || {
                    let gone = gone(&store, &route, &met)?;
                    Ok(Work::Pruned { route, gone })
                });
            }
        }
    }
}

/// Compares a batch of a listing with what is known; opens no file.
fn sift(
    store: &Store,
    route: &Arc<Route>,
    files: Vec<Found>,
    (tick, first): (u64, bool),
) -> Result<Vec<Due>, StoreError> {
    let places: Vec<_> = files.iter().map(|file| place(route, &file.path)).collect();
    let placed = files
        .iter()
        .zip(&places)
        .map(|(file, place)| (&file.path, &file.fingerprint, place.placed()));
    let unchanged = store.unchanged(&route.mapping.name, placed)?;
    let differ = files.into_iter().zip(unchanged);
    let differ = differ.filter(|(_, unchanged)| !unchanged);
    let due = |Found { path, fingerprint }| Due {
        route: Arc::clone(route),
        path,
        tick,
        found: Some(fingerprint),
        first,
        rest: Rest::Unknown,
        counted: true,
        large: fingerprint.size > LARGE_BYTES,
    };
    Ok(differ.map(|(file, _)| due(file)).collect())
}

/// Where the rules send a file.
enum Place {
    Slot(SlotAddress),
    Unplaceable(String),
    None,
}

impl Place {
    fn placed(&self) -> Placed<'_> {
        match self {
            Self::Slot(address) => Placed::In(address),
            Self::Unplaceable(_) => Placed::Without,
            Self::None => Placed::Nowhere,
        }
    }

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

/// Looks at one file and records what it means.
fn look_and_record(context: &Context, due: &Due, beat: &Beat) -> Result<Next, StoreError> {
    let (store, key, now) = (&context.store, due.key(), Timestamp::now());
    let mapping = &due.route.mapping;
    let place = place(&due.route, &due.path);
    let known = store.file(&key)?;
    if let Place::None = place {
        return match known {
            Some(_) => Ok(context.others(due, store.forget(&key, now)?)),
            None => Ok(Next::Nothing),
        };
    }
    let on_disk = mapping.folder.join(due.path.as_path()).symlink_metadata();
    let unchanged = |known: &FileRecord| {
        let same = on_disk
            .as_ref()
            .is_ok_and(|meta| Fingerprint::of(meta) == known.fingerprint);
        // An event says that something happened, and two changes can have one time.
        let sure = due.found.is_some() || !is_racy(known);
        same && sure && known.slot.as_ref() == place.slot()
    };
    if known.as_ref().is_some_and(unchanged) {
        return Ok(Next::Nothing);
    }
    let large = |meta: &Metadata| meta.len() > LARGE_BYTES;
    if !due.large && on_disk.as_ref().is_ok_and(large) {
        return Ok(Next::Large(Box::new(due.clone())));
    }
    let length = on_disk.as_ref().map_or(0, Metadata::len);
    let within = length <= mapping.max_bytes;
    let mut copying = context.copies.begin(&key, length).filter(|_| within);
    // A malformed file that a recogniser trips over concerns that file alone.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let copy = copying.as_mut();
        look_and_copy(
            &mapping.folder,
            &due.path,
            mapping.max_bytes,
            due.rest,
            copy,
            beat,
        )
    }))
    .unwrap_or_else(|_| {
        Looked::Unreadable("looking at it failed inside pixcell; please report it".into())
    });
    if let Looked::Gone | Looked::NoFile | Looked::Rejected { .. } = looked {
        context.copies.forget(&key);
    }
    let refuse = |fingerprint, verdict, reason: String| {
        let refusal = Refusal {
            key: &key,
            known: known.as_ref(),
            place: &place,
            fingerprint,
            verdict,
            max_bytes: mapping.max_bytes,
            listed: due.found.is_some(),
            now,
        };
        refusal.tell(&reason);
        let others = store.refuse(&key, &refusal.record(reason))?;
        Ok(context.others(due, others))
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
            // The bytes are later than what was heard when it was found, and so may be their event, which
            // alone says when they arrived.
            if due.found.is_some_and(|found| found != fingerprint)
                && context.catch_up(&mapping.name)
            {
                let found = Some(fingerprint);
                return Ok(Next::Heard(Box::new(Due {
                    found,
                    ..due.clone()
                })));
            }
            if let Some(copying) = copying {
                context.copies.keep(&key, hash, copying);
            }
            let seen = Seen::Image { hash, format };
            let record = FileRecord {
                fingerprint,
                slot: Some(address.clone()),
                seen,
                at: now,
            };
            if known.is_some_and(|known| only_attributes_differ(&known, &record)) {
                store.same_content(&key, &record, address, hash)?;
                return Ok(Next::Nothing);
            }
            let outdated = due.first
                && is_outdated(
                    store,
                    &store.slot(address)?,
                    &mapping.folder,
                    &key,
                    &fingerprint,
                )?;
            let offer = Offer {
                id: store.next_id()?,
                hash,
                format,
                fingerprint,
                source: key.clone(),
                arrival: arrival(store, due, fingerprint),
                outdated,
                now,
                min_interval: mapping.min_interval,
            };
            let offered = offer.clone();
            let decide = move |slot: &mut SlotRecord| decide(slot, &offered);
            let decision = store.take_image(&key, &record, address, decide)?;
            tell(&key, address, &offer, decision);
            Ok(Next::Nothing)
        }
        (Looked::Image { fingerprint, .. }, Place::Unplaceable(reason)) => {
            refuse(fingerprint, Verdict::Rejected, reason.clone())
        }
        (
            Looked::Rejected {
                fingerprint,
                reason,
            },
            _,
        ) => refuse(fingerprint, Verdict::Rejected, reason),
        (
            Looked::Held {
                fingerprint,
                reason,
            },
            _,
        ) => refuse(fingerprint, Verdict::Held, reason),
        (Looked::Unreadable(reason), _) => {
            let (known, fingerprint) = (known.as_ref(), Fingerprint::UNKNOWN);
            let verdict = Verdict::Held;
            let refusal = Refusal {
                key: &key,
                known,
                place: &place,
                fingerprint,
                verdict,
                max_bytes: mapping.max_bytes,
                listed: due.found.is_some(),
                now,
            };
            refusal.tell(&reason);
            store.set_unreadable(&key, &refusal.record(reason))?;
            Ok(Next::Nothing)
        }
        (Looked::Unsettled(fingerprint), _) => {
            // A listing waits for one quiet time and not for a file that never rests.
            let counted = due.counted && !matches!(due.rest, Rest::QuietAs(_));
            let due = Due {
                rest: Rest::QuietAs(fingerprint),
                counted,
                ..due.clone()
            };
            Ok(Next::Again(Box::new(due)))
        }
        (Looked::Changed, _) => {
            let due = Due {
                rest: Rest::Unknown,
                counted: false,
                ..due.clone()
            };
            Ok(Next::Again(Box::new(due)))
        }
        (Looked::Gone | Looked::NoFile, _) if known.is_some() => {
            debug!(mapping = %mapping.name, file = %due.path, "gone");
            Ok(context.others(due, store.forget(&key, now)?))
        }
        (Looked::Gone | Looked::NoFile, _) | (Looked::Image { .. }, Place::None) => {
            Ok(Next::Nothing)
        }
    }
}

impl Context {
    /// Waits for what the kernel has to tell of a folder; whether that is known to be told. Blocks.
    fn catch_up(&self, mapping: &MappingName) -> bool {
        let hearing = self.hearing.get(mapping);
        hearing.is_some_and(|hearing| hearing.catch_up())
    }

    /// Files that were for the slot of a file that is gone: the newest of them is the newest now.
    fn others(&self, gone: &Due, keys: Vec<FileKey>) -> Next {
        let others = keys.into_iter().filter_map(|FileKey { mapping, path }| {
            Some(Due {
                route: Arc::clone(self.routes.of(&mapping)?),
                path,
                tick: gone.tick,
                // As by a listing. Not looked at here: it may be another's folder, which may hang.
                found: Some(Fingerprint::UNKNOWN),
                first: false,
                rest: Rest::Unknown,
                counted: gone.counted,
                large: false,
            })
        });
        Next::Others(others.collect())
    }
}

/// Clocks of file systems are coarse (FAT: 2 s): a file that was looked at so soon after its last change
/// may have changed again without its times telling.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

fn is_racy(known: &FileRecord) -> bool {
    let changed = u64::try_from(known.fingerprint.ctime / 1_000_000).unwrap_or(0);
    known.at.since(Timestamp(changed)) < COARSEST_CLOCK
}

/// The same bytes written at the same time, with another owner, mode or inode: no new arrival.
fn only_attributes_differ(known: &FileRecord, now: &FileRecord) -> bool {
    let written = |record: &FileRecord| (record.fingerprint.size, record.fingerprint.mtime);
    known.seen == now.seen && known.slot == now.slot && written(known) == written(now)
}

fn arrival(store: &Store, due: &Due, seen: Fingerprint) -> Arrival {
    let listed = due.found.is_some();
    Arrival {
        epoch: store.epoch(),
        tick: due.tick,
        mtime: if listed { seen.mtime } else { 0 },
        name: if listed {
            due.path.as_bytes().to_vec()
        } else {
            Vec::new()
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

/// A file that is not sent as it is.
struct Refusal<'a> {
    key: &'a FileKey,
    known: Option<&'a FileRecord>,
    place: &'a Place,
    fingerprint: Fingerprint,
    verdict: Verdict,
    max_bytes: u64,
    /// Found by a listing, not by an event.
    listed: bool,
    now: Timestamp,
}

impl Refusal<'_> {
    fn record(&self, reason: String) -> FileRecord {
        FileRecord {
            fingerprint: self.fingerprint,
            slot: self.place.slot().cloned(),
            seen: Seen::Refused {
                verdict: self.verdict,
                reason,
            },
            at: self.now,
        }
    }

    /// The reason in one word, for counting.
    fn class(&self) -> &'static str {
        match (self.verdict, self.place) {
            (Verdict::Held, _) if self.fingerprint == Fingerprint::UNKNOWN => "unreadable",
            (Verdict::Held, _) => "incomplete",
            (Verdict::Rejected, _) if self.fingerprint.size > self.max_bytes => "too_large",
            (Verdict::Rejected, Place::Unplaceable(_)) => "no_place",
            (Verdict::Rejected, _) => "not_an_image",
        }
    }

    /// Once per cause: a file that grows slowly is looked at often.
    fn tell(&self, reason: &str) {
        let before = self.known.map(|known| &known.seen);
        let told = match (before, self.verdict) {
            (Some(Seen::Refused { verdict, .. }), Verdict::Held) => *verdict == Verdict::Held,
            (Some(Seen::Refused { reason: before, .. }), Verdict::Rejected) => before == reason,
            _ => false,
        };
        if told {
            return;
        }
        let FileKey { mapping, path } = self.key;
        counter!("pixcell_refusals_total", "mapping" => mapping.to_string(), "reason" => self.class())
            .increment(1);
        let slot = self
            .place
            .slot()
            .map(|address| address.slot.to_string())
            .unwrap_or_default();
        match self.verdict {
            Verdict::Rejected => warn!(%mapping, file = %path, %slot, "rejected: {reason}"),
            // A listing meets a file that nobody writes any more; an event comes from a writer that
            // mostly goes on.
            Verdict::Held if self.listed => {
                info!(%mapping, file = %path, %slot, "held until it changes: {reason}");
            }
            Verdict::Held => {
                debug!(%mapping, file = %path, %slot, "held until it changes: {reason}");
            }
        }
    }
}

/// Known files that a listing did not find and that are not there. Only those of the file system that the
/// folder is on now: an unmounted disk is not a deletion. Nor is what a listing could not see.
fn gone(store: &Store, route: &Route, met: &Met) -> Result<Vec<RelPath>, StoreError> {
    let mapping = &route.mapping;
    if store.all_met(&mapping.name, |path| met.contains(path))? {
        return Ok(Vec::new());
    }
    let Ok(device) = std::fs::metadata(&mapping.folder).map(|meta| meta.dev()) else {
        return Ok(Vec::new());
    };
    let is_gone = |path: &RelPath| {
        let found = mapping.folder.join(path.as_path()).symlink_metadata();
        matches!(found, Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    };
    let mut gone = Vec::new();
    for entry in store.files_of(&mapping.name) {
        let (FileKey { path, .. }, file) = entry?;
        let ours = file.fingerprint.device == device || file.fingerprint == Fingerprint::UNKNOWN;
        if ours && !met.contains(PathHash::of(&path)) && is_gone(&path) {
            gone.push(path);
        }
    }
    Ok(gone)
}
