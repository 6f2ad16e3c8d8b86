//! sled behind types: the trees, the transactions that keep them in step, and durability.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `files` | mapping, 0, path | [`FileRecord`] |
//! | `slots` | [`SlotAddress`] | [`SlotRecord`] |
//! | `queue` | document, 0, due, job id | the slot's key; one entry for every queued job |
//! | `history` | sequence | [`Event`]; the newest [`HISTORY_MOST`] |
//! | `rows` | see [`rows`] | rows given to files by `append`, and the files they were given to |
//! | `meta` | name | schema version, epoch, configuration, [`Tally`] |
//!
//! A tree is registered in [`Inner`] and [`Store::open`]; one that changes together with others also in
//! [`Txn`] and [`Store::write`]. The files beside this one hold what the rooms call.
//! Records that must change together change in one transaction (`txn`).
//! Every method blocks; on the async runtime use [`Store::call`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::transaction::{
    ConflictableTransactionError, ConflictableTransactionResult, TransactionError,
};
use sled::{Db, Transactional, Tree};
use tokio::sync::Notify;

use super::envelope::{self, Damage};
use super::error::StoreError;
use super::flusher::Flusher;
use super::generation::Generation;
use super::known::{Known, Stand};
use super::record::{Done, Event, FileRecord, Fingerprint, Job, JobState, SlotRecord, Timestamp};
use super::sweep::{self, Sweep};
use super::through::{Answer, Failure, Go, Through};
use super::together::{Member, Together};
use super::txn::{self, Abort, Steps, TALLY, Tally, Txn, queue_key, slot_key, stamp};
use crate::blocking::{beside, off_runtime_in_time};
use crate::placement::SlotAddress;

/// sled's page cache. Its own default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled's threads may hold its lock for a moment after its last handle is gone (measured: a reopening
/// in the same process failed about once in 700 times on a busy machine). Another process cannot be the
/// holder: [`super::Lock`] is taken first.
const STILL_CLOSING: ConstantBuilder = ConstantBuilder::new()
    .with_delay(Duration::from_millis(10))
    .with_max_times(500);
/// How many lines of history are kept.
const HISTORY_MOST: usize = 10_000;
/// Where in `meta` stands from where on numbers are new.
const IDS_FROM: &str = "ids from";
/// Grows when the trees or keys change.
/// 1: no tally. Opening such a store adds it.
pub(super) const SCHEMA: u32 = 2;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    /// First to go, as it holds the database as well.
    flusher: Flusher,
    db: Db,
    files: Tree,
    slots: Tree,
    queue: Tree,
    history: Tree,
    rows: Tree,
    meta: Tree,
    history_len: AtomicUsize,
    /// sled records nothing more once the disk has refused a write, even when it would take it again.
    refused: AtomicBool,
    /// sled's own file, for the fsync that its `flush` leaves out on Linux.
    log: File,
    together: Together,
    through: Through,
    epoch: u64,
    /// Which database.
    id: u64,
    /// The schema it was found with.
    was: u32,
    /// Numbers below were given by a database that this one was written anew from.
    ids_from: u64,
    /// Raised with every receipt; a copy to look at has none.
    generation: OnceLock<Mutex<Generation>>,
    wakers: Mutex<HashMap<String, Arc<Notify>>>,
    known: Known,
}

/// A queued job, first in its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The slot.
    pub address: SlotAddress,
    /// Its newest version.
    pub job: Job,
    /// Earliest time of the next call.
    pub due: Timestamp,
}

/// Recorded, and not on disk before [`Store::settle`].
#[derive(Debug)]
#[must_use = "a power cut, or the end of the process, takes what is not settled"]
pub struct Unsettled {
    /// The sequence of a receipt.
    receipt: Option<u64>,
    /// See [`Self::may_be_lost`].
    may_be_lost: bool,
}

impl Unsettled {
    /// Whether nothing wrong follows when it is lost: the intent of a call for a slot that nothing is known of.
    pub fn may_be_lost(&self) -> bool {
        self.may_be_lost
    }
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Jobs that wait for their turn.
    pub queued: u64,
    /// Jobs whose file changed after it was hashed.
    pub stale: u64,
    /// Jobs that wait for a person or a change.
    pub parked: u64,
    /// Slots whose content is known.
    pub written: u64,
}

impl Totals {
    /// Counts one slot.
    pub fn count(&mut self, slot: &SlotRecord) {
        self.written += u64::from(slot.ledger.is_some());
        match slot.job.as_ref().map(|job| &job.state) {
            Some(JobState::Queued { .. }) => self.queued += 1,
            Some(JobState::Stale) => self.stale += 1,
            Some(JobState::Parked(_)) => self.parked += 1,
            None => {}
        }
    }
}

mod files;
mod jobs;
mod read;
pub(super) mod rewrite;
mod rows;

pub use files::{Placed, Reconfigured};
pub use rows::RowColumn;

type Result<T> = std::result::Result<T, StoreError>;
/// Queue entries, each with its slot's key.
type Entries = HashMap<Vec<u8>, Vec<u8>>;
impl Store {
    /// Opens or creates the database in `dir`. [`super::open`] is the way in: it takes care of damage.
    /// Its epoch is later than `epoch` and than that of its last run.
    pub(super) fn open(dir: &Path, epoch: u64) -> Result<Self> {
        let failed = |source| StoreError::Sled {
            dir: dir.into(),
            source,
        };
        let db = open_db(dir).map_err(failed)?;
        let tree = |name| db.open_tree(name).map_err(failed);
        let (files, slots, queue) = (tree("files")?, tree("slots")?, tree("queue")?);
        let (history, rows, meta) = (tree("history")?, tree("rows")?, tree("meta")?);
        let found: u32 = read_meta(dir, &meta, "schema")?.unwrap_or(SCHEMA);
        if found > SCHEMA {
            return Err(StoreError::Newer {
                dir: dir.into(),
                found,
            });
        }
        let epoch = epoch.max(read_meta(dir, &meta, "epoch")?.unwrap_or(0)) + 1;
        let tally: Option<Tally> = read_meta(dir, &meta, "tally")?;
        let ids_from = read_meta(dir, &meta, IDS_FROM)?.unwrap_or(0);
        let unsynced = |source| StoreError::Sync {
            dir: dir.into(),
            source,
        };
        let log = sync_new(dir).map_err(unsynced)?;
        let their_log = log.try_clone().map_err(unsynced)?;
        let sweep = Sweep::new(&db, sweep::LEAST_BYTES).map_err(failed)?;
        let flusher = Flusher::start(db.clone(), their_log, sweep).map_err(unsynced)?;
        // Counted with the first line that is added: counting reads all of it, and a start need not wait.
        let history_len = AtomicUsize::new(usize::MAX / 2);
        let store = Self(Arc::new(Inner {
            dir: dir.into(),
            flusher,
            db,
            files,
            slots,
            queue,
            history,
            rows,
            meta,
            history_len,
            refused: AtomicBool::new(false),
            log,
            together: Together::default(),
            through: Through::default(),
            epoch,
            id: tally.map_or_else(any_id, |tally| tally.store),
            was: found,
            ids_from,
            generation: OnceLock::new(),
            wakers: Mutex::default(),
            known: Known::default(),
        }));
        let slots = store.mend_queue()?;
        match tally {
            Some(tally) if tally.slots == slots => {}
            None if found < SCHEMA || store.0.slots.is_empty() => {
                let tally = Tally {
                    store: store.0.id,
                    sequence: store.next_id()?,
                    slots,
                };
                store.put_meta("tally", &tally)?;
            }
            _ => return Err(StoreError::WentBack { dir: dir.into() }),
        }
        store.put_meta("schema", &SCHEMA)?;
        store.put_meta("epoch", &epoch)?;
        store.sync()?;
        Ok(store)
    }

    /// Puts the queue in step with the slots, which alone say what waits, and so reads every slot once.
    /// Returns the sum of their stamps.
    fn mend_queue(&self) -> Result<u64> {
        let middle = self.middle_slot()?;
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| self.survey(self.0.slots.range(middle.clone()..)));
            let first = self.survey(self.0.slots.range(..middle.clone()));
            (first, second.join())
        });
        let (mut wanted, stamps) = first?;
        let (more, others) = second.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        wanted.extend(more);
        let stamps = stamps.wrapping_add(others);
        for entry in &self.0.queue {
            let (place, key) = entry.map_err(|source| self.failed(source))?;
            if wanted
                .remove(place.as_ref())
                .is_none_or(|wanted| key != wanted)
            {
                self.0
                    .queue
                    .remove(place)
                    .map_err(|source| self.failed(source))?;
            }
        }
        for (place, key) in wanted {
            self.0
                .queue
                .insert(place, key)
                .map_err(|source| self.failed(source))?;
        }
        Ok(stamps)
    }

    /// A key in the midst of the slots: by the first byte in which the first and the last of them differ.
    fn middle_slot(&self) -> Result<Vec<u8>> {
        let of = |end: sled::Result<Option<(sled::IVec, _)>>| {
            let end = end.map_err(|source| self.failed(source))?;
            Ok(end.map_or_else(Vec::new, |(key, _): (_, sled::IVec)| key.to_vec()))
        };
        let (first, mut last) = (of(self.0.slots.first())?, of(self.0.slots.last())?);
        let same = first
            .iter()
            .zip(&last)
            .take_while(|(one, other)| one == other);
        let at = same.count();
        last.truncate(at + 1);
        if let (Some(high), Some(low)) = (last.get_mut(at), first.get(at)) {
            *high = low.midpoint(*high).saturating_add(1);
        }
        Ok(last)
    }

    /// The queue entries that these slots ask for, each with the slot's key, and the sum of the slots' stamps.
    fn survey(&self, slots: sled::Iter) -> Result<(Entries, u64)> {
        let (mut wanted, mut stamps) = (Entries::new(), 0_u64);
        for entry in read::letting_go(&self.0.slots, slots) {
            let (key, sealed) = entry.map_err(|source| self.failed(source))?;
            let damaged = |damage| self.damaged("slots", damage);
            let (sequence, slot): (_, SlotRecord) =
                envelope::open(&key, &sealed).map_err(damaged)?;
            stamps = stamps.wrapping_add(stamp(&key, sequence));
            if slot.job.is_none() {
                continue;
            }
            let address = postcard::from_bytes(&key).map_err(|_| damaged(Damage::Content))?;
            if let (Some(place), Ok(key)) = (queue_key(&address, &slot), slot_key(&address)) {
                wanted.insert(place, key);
            }
        }
        Ok((wanted, stamps))
    }

    /// Which database this is.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// The schema it was found with.
    pub(super) fn was(&self) -> u32 {
        self.0.was
    }

    /// Takes back what is known for sure: what each cell holds, and which files need no second look.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; repeating it does no harm.
    pub(super) fn doubt(&self, now: Timestamp) -> Result<()> {
        for entry in self.slots() {
            let (address, _) = entry?;
            self.write(|txn| txn.slot(&address, |slot| slot.doubt(now)))?;
        }
        for entry in self.files() {
            let (key, file) = entry?;
            let file = FileRecord {
                fingerprint: Fingerprint::UNKNOWN,
                ..file
            };
            self.write(|txn| txn.put_file(&key, &file))?;
        }
        self.sync()
    }

    /// The sequence of its latest transaction.
    ///
    /// # Errors
    /// When sled fails or the tally is damaged.
    pub(super) fn sequence(&self) -> Result<u64> {
        let tally: Option<Tally> = self.read("meta", &self.0.meta, TALLY)?;
        Ok(tally.map_or(0, |tally| tally.sequence))
    }

    /// Leaves what is known of files for the next start, which then reads no record of them. Nothing may be
    /// recorded after it.
    ///
    /// # Errors
    /// When the store fails or the disk refuses; the next start reads the records then.
    pub fn leave(&self) -> Result<()> {
        self.sync()?;
        let stand = self.stand(self.0.epoch)?;
        let kept = self.0.dir.parent().map(|dir| self.0.known.keep(dir, stand));
        kept.unwrap_or(Ok(()))
            .map_err(|source| self.unsynced(source))
    }

    /// Takes up what the run before this one left.
    ///
    /// # Errors
    /// When sled fails or the tally is damaged.
    pub(super) fn take_up(&self, state_dir: &Path) -> Result<()> {
        let stand = self.stand(self.0.epoch - 1)?;
        self.0.known.take_up(state_dir, &stand);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> &Known {
        &self.0.known
    }

    fn stand(&self, epoch: u64) -> Result<Stand> {
        Ok(Stand {
            build: env!("PIXCELL_VERSION").into(),
            store: self.0.id,
            epoch,
            sequence: self.sequence()?,
        })
    }

    /// From now on every receipt raises this mark.
    pub(super) fn keep(&self, generation: Generation) {
        // A store is given its mark once, by whoever opened it.
        let _ = self.0.generation.set(Mutex::new(generation));
    }

    /// Runs `work` on a thread where blocking is allowed.
    ///
    /// # Panics
    /// When `work` does.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let store = self.clone();
        off_runtime_in_time(move || work(&store)).await
    }

    /// Which run of the daemon this is; grows with every start.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// A number never given before; grows.
    ///
    /// # Errors
    /// When sled fails.
    pub fn next_id(&self) -> Result<u64> {
        let id = self.0.db.generate_id();
        let id = id.map_err(|source| self.failed(source))?;
        Ok(self.0.ids_from.saturating_add(id))
    }

    /// Writes everything through to the disk. sled's own `flush` leaves the last step to a background
    /// thread on Linux (spacejam/sled#1351), so a power cut could take what it acknowledged.
    ///
    /// # Errors
    /// When sled or the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.0.flusher.clean();
        self.0.db.flush().map_err(|source| self.failed(source))?;
        self.0
            .log
            .sync_data()
            .map_err(|source| self.unsynced(source))
    }

    /// Has what was recorded on disk when it returns, and everything that was recorded before it; in one
    /// go for all who ask at the same time.
    ///
    /// # Errors
    /// When sled or the disk fails; after that always.
    pub async fn settle(&self, unsettled: Unsettled) -> Result<()> {
        let answer = self.0.through.join(unsettled.receipt);
        self.go(answer).await
    }

    /// The same, but waits until `alone` for somebody else to ask, and then costs no sync of its own.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn settle_in_company(
        &self,
        unsettled: Unsettled,
        alone: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut answer = self.0.through.join(unsettled.receipt);
        tokio::select! {
            // Whoever it was hears of a failure as well.
            _ = answer.ended() => {}
            () = alone => {}
        }
        self.go(answer).await
    }

    async fn go(&self, mut answer: Answer) -> Result<()> {
        if self.0.through.begin(&answer) {
            let store = self.clone();
            beside(move || store.0.through.work(|go| store.write_through(go)));
        }
        let failed = |(kind, text)| self.unsynced(io::Error::new(kind, text));
        answer.ended().await.map_err(failed)
    }

    fn write_through(&self, go: &Go) -> std::result::Result<(), Failure> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.0.flusher.clean();
            self.0.db.flush().map_err(io::Error::from)?;
            self.0.log.sync_data()?;
            // Never before it is on disk: the mark would accuse a healthy database.
            match self.0.generation.get() {
                Some(generation) if go.receipt > 0 => generation
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .raise(go.receipt),
                _ => Ok(()),
            }
        }));
        // Those who wait must hear of it.
        let done = done.unwrap_or_else(|_| Err(io::Error::other("it failed inside pixcell")));
        done.map_err(|error| (error.kind(), error.to_string()))
    }

    /// Whether the files that are written to are still those in the state directory. sled goes on into
    /// files that were deleted without an error.
    ///
    /// # Errors
    /// When they are not, or it cannot be told.
    pub fn still_there(&self) -> Result<()> {
        let ours = self.0.log.metadata();
        let named = std::fs::metadata(self.0.dir.join("db"));
        match (ours, named) {
            (Ok(ours), Ok(named)) if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) => {
                Ok(())
            }
            _ => Err(StoreError::Gone {
                dir: self.0.dir.clone(),
            }),
        }
    }

    /// Runs `body` on all trees at once: all of it is recorded, or nothing.
    fn write<R>(&self, body: impl Fn(&Txn<'_>) -> std::result::Result<R, Abort>) -> Result<R> {
        self.transaction(|steps| steps.step(&body))
            .map(|(_, answer)| answer)
    }

    /// The same in one transaction with others of the same moment; tells its sequence as well.
    fn write_together<R: Send + 'static>(
        &self,
        body: impl Fn(&Txn<'_>) -> std::result::Result<R, Abort> + Send + Sync + 'static,
    ) -> Result<(u64, R)> {
        let body = Arc::new(body);
        let transaction = |members: &[Box<dyn Member>]| {
            let steps = |steps: &Steps<'_>| members.iter().map(|one| one.step(steps)).collect();
            self.transaction(steps).ok()
        };
        match self.0.together.record(&body, transaction) {
            Some(done) => Ok(done),
            // What failed is one's own fault or not.
            None => self.transaction(|steps| steps.step(&*body)),
        }
    }

    fn transaction<R>(
        &self,
        body: impl Fn(&Steps<'_>) -> std::result::Result<R, Abort>,
    ) -> Result<R> {
        let Inner {
            files,
            slots,
            queue,
            history,
            meta,
            ..
        } = &*self.0;
        let mut known = self.0.known.copies();
        let (answer, files_changed, count) = (files, slots, queue, history, meta)
            .transaction(
                |(files, slots, queue, history, meta)| -> ConflictableTransactionResult<_, _> {
                    let tally = txn::get_at("meta", meta, TALLY)?;
                    let (_, tally) = tally
                        .ok_or(ConflictableTransactionError::Abort(("meta", Damage::Short)))?;
                    let steps = Steps {
                        files,
                        slots,
                        queue,
                        history,
                        tally: Cell::new(tally),
                        changed: Cell::default(),
                        files_changed: RefCell::default(),
                    };
                    let answer = body(&steps)?;
                    let after: Tally = steps.tally.get();
                    if steps.changed.get() {
                        meta.insert(TALLY, txn::seal(TALLY, after.sequence, &after)?)?;
                    }
                    let count = after.sequence.saturating_sub(tally.sequence);
                    Ok((answer, steps.files_changed.take(), count))
                },
            )
            .map_err(|error| match error {
                TransactionError::Abort((tree, damage)) => self.damaged(tree, damage),
                TransactionError::Storage(source) => self.failed(source),
            })?;
        known.change(files_changed);
        drop(known);
        let steps = usize::try_from(count).unwrap_or(usize::MAX);
        self.0.flusher.dirty(steps);
        Ok(answer)
    }

    fn trim_history(&self) -> Result<()> {
        const TRIM_FROM: usize = HISTORY_MOST + HISTORY_MOST / 10;
        // Counted by additions alone: an occasional recount is cheaper than a tree length per write.
        let length = &self.0.history_len;
        let is_long = |length| length >= TRIM_FROM;
        if !is_long(length.fetch_add(1, Ordering::Relaxed)) {
            return Ok(());
        }
        // One recounts, and who comes meanwhile leaves it at that.
        if !is_long(length.swap(0, Ordering::Relaxed)) {
            return Ok(());
        }
        let mut left = self.0.history.len();
        while left > HISTORY_MOST {
            self.0
                .history
                .pop_min()
                .map_err(|source| self.failed(source))?;
            left -= 1;
        }
        length.fetch_add(left, Ordering::Relaxed);
        Ok(())
    }

    fn read<T: DeserializeOwned>(
        &self,
        name: &'static str,
        tree: &Tree,
        key: &[u8],
    ) -> Result<Option<T>> {
        let Some(sealed) = tree.get(key).map_err(|source| self.failed(source))? else {
            return Ok(None);
        };
        envelope::unseal(key, &sealed)
            .map(Some)
            .map_err(|damage| self.damaged(name, damage))
    }

    fn put_meta<T: Serialize>(&self, key: &str, value: &T) -> Result<()> {
        let sealed = envelope::seal(key.as_bytes(), self.next_id()?, value)
            .map_err(|_| self.damaged("meta", Damage::Content))?;
        self.0
            .meta
            .insert(key, sealed)
            .map_err(|source| self.failed(source))?;
        self.0.flusher.dirty(1);
        Ok(())
    }

    fn failed(&self, source: sled::Error) -> StoreError {
        self.noted(StoreError::Sled {
            dir: self.0.dir.clone(),
            source,
        })
    }

    fn unsynced(&self, source: std::io::Error) -> StoreError {
        self.noted(StoreError::Sync {
            dir: self.0.dir.clone(),
            source,
        })
    }

    fn noted(&self, error: StoreError) -> StoreError {
        if error.is_the_disks() {
            self.0.refused.store(true, Ordering::Relaxed);
        }
        error
    }

    /// Whether the disk has refused a write: this store records nothing more, and one opened anew may.
    pub fn is_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Closes the database, which takes that nobody else holds it; otherwise gives it back.
    ///
    /// # Errors
    /// With the store, while it is in use elsewhere.
    pub fn close(self) -> std::result::Result<(), Self> {
        Arc::try_unwrap(self.0).map(drop).map_err(Self)
    }

    /// Remembers the damage beside the database, so that the next start rebuilds it.
    fn damaged(&self, tree: &'static str, damage: Damage) -> StoreError {
        super::recover::mark_damaged(&self.0.dir);
        StoreError::Damaged {
            dir: self.0.dir.clone(),
            tree,
            damage,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.0.dir)
            .finish_non_exhaustive()
    }
}

/// sled gives this as an I/O error of no particular kind, with the system's answer in its text alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().starts_with("could not acquire lock"))
}

/// Opens or creates the database itself.
fn open_db(dir: &Path) -> sled::Result<Db> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::LowSpace)
        // See the flusher.
        .flush_every_ms(None);
    (|| config.open())
        .retry(STILL_CLOSING)
        .when(is_locked)
        .call()
}

fn event(address: &SlotAddress, job: &Job, done: Done, at: Timestamp) -> Event {
    Event {
        at,
        slot: address.clone(),
        source: job.source.clone(),
        hash: job.hash,
        done,
    }
}

fn any_id() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn read_meta<T: DeserializeOwned>(dir: &Path, meta: &Tree, key: &str) -> Result<Option<T>> {
    let found = meta.get(key).map_err(|source| StoreError::Sled {
        dir: dir.into(),
        source,
    })?;
    found
        .map(|sealed| {
            envelope::unseal(key.as_bytes(), &sealed).map_err(|damage| StoreError::Damaged {
                dir: dir.into(),
                tree: "meta",
                damage,
            })
        })
        .transpose()
}

/// Makes the new database's files and folders survive a power cut, and hands out its log file.
fn sync_new(dir: &Path) -> std::io::Result<File> {
    let log = File::open(dir.join("db"))?;
    log.sync_all()?;
    File::open(dir.join("conf"))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests;
