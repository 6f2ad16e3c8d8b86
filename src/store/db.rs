//! sled behind types: the trees, the transactions that keep them in step, and durability.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `files` | mapping, 0, path | [`FileRecord`] |
//! | `slots` | [`SlotAddress`] | [`SlotRecord`] |
//! | `queue` | document, 0, due, job id | the slot's key; one entry for every queued job |
//! | `history` | sequence | [`Event`]; the newest [`HISTORY_MOST`] |
//! | `meta` | name | schema version, epoch, configuration |
//!
//! Records that must change together change in one transaction (`txn`).
//! Every method blocks; on the async runtime use [`Store::call`].

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionResult, TransactionError};
use sled::{Db, Transactional, Tree};
use tokio::sync::Notify;

use super::envelope::{self, Damage};
use super::error::StoreError;
use super::record::{
    Done, Event, FileKey, FileRecord, Fingerprint, Job, JobState, Parked, Release, Seen,
    SlotRecord, Target, Timestamp,
};
use super::txn::{Abort, Txn, file_key, lane_prefix, parse_file_key, queue_key, slot_key};
use crate::blocking::off_runtime;
use crate::config::{MappingName, SpreadsheetRef};
use crate::image::ContentHash;
use crate::placement::SlotAddress;

/// sled's page cache. Its own default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How many lines of history are kept.
const HISTORY_MOST: usize = 10_000;
/// Grows when the trees or keys change.
pub(super) const SCHEMA: u32 = 1;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    db: Db,
    files: Tree,
    slots: Tree,
    queue: Tree,
    history: Tree,
    meta: Tree,
    history_len: AtomicUsize,
    /// sled's own file, for the fsync that its `flush` leaves out on Linux.
    log: File,
    epoch: u64,
    wakers: Mutex<HashMap<String, Arc<Notify>>>,
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

type Result<T> = std::result::Result<T, StoreError>;
impl Store {
    /// Opens or creates the database in `dir`. [`super::open`] is the way in: it takes care of damage.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let failed = |source| StoreError::Sled {
            dir: dir.into(),
            source,
        };
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .open()
            .map_err(failed)?;
        let tree = |name| db.open_tree(name).map_err(failed);
        let (files, slots, queue) = (tree("files")?, tree("slots")?, tree("queue")?);
        let (history, meta) = (tree("history")?, tree("meta")?);
        let found = read_meta(dir, &meta, "schema")?.unwrap_or(SCHEMA);
        if found > SCHEMA {
            return Err(StoreError::Newer {
                dir: dir.into(),
                found,
            });
        }
        let epoch = read_meta::<u64>(dir, &meta, "epoch")?.unwrap_or(0) + 1;
        let log = sync_new(dir).map_err(|source| StoreError::Sync {
            dir: dir.into(),
            source,
        })?;
        let history_len = AtomicUsize::new(history.len());
        let store = Self(Arc::new(Inner {
            dir: dir.into(),
            db,
            files,
            slots,
            queue,
            history,
            meta,
            history_len,
            log,
            epoch,
            wakers: Mutex::default(),
        }));
        store.mend_queue()?;
        store.put_meta("schema", &SCHEMA)?;
        store.put_meta("epoch", &epoch)?;
        store.sync()?;
        Ok(store)
    }

    /// Puts the queue in step with the slots, which alone say what waits, and so reads every slot once.
    fn mend_queue(&self) -> Result<()> {
        let mut wanted = HashMap::new();
        for entry in self.slots() {
            let (address, slot) = entry?;
            if let (Some(place), Ok(key)) = (queue_key(&address, &slot), slot_key(&address)) {
                wanted.insert(place, key);
            }
        }
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
        Ok(())
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
        off_runtime(move || work(&store)).await
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
        self.0
            .db
            .generate_id()
            .map_err(|source| self.failed(source))
    }

    /// Wakes when a job may have been queued for `lane`. A wake-up may be spurious.
    pub fn waker(&self, lane: &SpreadsheetRef) -> Arc<Notify> {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(lane.to_string()).or_default())
    }

    fn wake(&self, lane: &SpreadsheetRef) {
        self.waker(lane).notify_one();
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// When sled fails or the record is damaged.
    pub fn file(&self, key: &FileKey) -> Result<Option<FileRecord>> {
        self.read("files", &self.0.files, &file_key(key))
    }

    /// What is known of a slot.
    ///
    /// # Errors
    /// When sled fails or the record is damaged.
    pub fn slot(&self, address: &SlotAddress) -> Result<SlotRecord> {
        let Ok(key) = slot_key(address) else {
            return Ok(SlotRecord::default());
        };
        Ok(self.read("slots", &self.0.slots, &key)?.unwrap_or_default())
    }

    /// Records a whole image and lets `decide` say what it means for its slot.
    ///
    /// When the file's rule names another slot than before, a job that waited in the old one goes.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn take_image<R>(
        &self,
        key: &FileKey,
        record: &FileRecord,
        address: &SlotAddress,
        decide: impl Fn(&mut SlotRecord) -> R,
    ) -> Result<R> {
        let answer = self.write(|txn| {
            let before = txn.file(key)?.and_then(|file| file.slot);
            if let Some(before) = before.filter(|before| before != address) {
                txn.drop_job_of(&before, key)?;
            }
            txn.put_file(key, record)?;
            txn.slot(address, &decide)
        })?;
        self.wake(&address.spreadsheet);
        Ok(answer)
    }

    /// Records a file whose content is not sent. The job that an earlier content of it waits with
    /// goes: those bytes are no more. Returns other files that were for the same slot: one of them may
    /// be the newest now, and each is to be looked at again.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn refuse(&self, key: &FileKey, record: &FileRecord) -> Result<Vec<FileKey>> {
        let dropped = self.write(|txn| {
            let before = txn.file(key)?.and_then(|file| file.slot);
            let mut dropped = None;
            for address in before.iter().chain(&record.slot) {
                dropped = txn
                    .drop_job_of(address, key)?
                    .map(|_| address.clone())
                    .or(dropped);
            }
            txn.put_file(key, record)?;
            Ok(dropped)
        })?;
        dropped.map_or(Ok(Vec::new()), |address| self.others(&address, key))
    }

    /// Records that a file cannot be read for now; its job stays, and it is looked at at every listing.
    ///
    /// # Errors
    /// When sled fails; nothing has changed then.
    pub fn set_unreadable(&self, key: &FileKey, record: &FileRecord) -> Result<()> {
        let record = FileRecord {
            fingerprint: Fingerprint::UNKNOWN,
            ..record.clone()
        };
        self.write(|txn| txn.put_file(key, &record))
    }

    /// Records that a file's attributes changed and its content did not: that is no new arrival.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn same_content(
        &self,
        key: &FileKey,
        record: &FileRecord,
        address: &SlotAddress,
        hash: ContentHash,
    ) -> Result<()> {
        self.write(|txn| {
            txn.put_file(key, record)?;
            txn.slot(address, |slot| {
                if let Some(job) = &mut slot.job
                    && job.source == *key
                    && job.hash == hash
                {
                    job.fingerprint = record.fingerprint;
                }
            })
        })
    }

    /// Forgets a file that is gone. Its waiting job goes, and the history says so; the ledger stays.
    /// Returns other files that were for the same slot, as [`Self::refuse`] does.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn forget(&self, key: &FileKey, now: Timestamp) -> Result<Vec<FileKey>> {
        let dropped = self.write(|txn| {
            let Some(slot) = txn.file(key)?.map(|file| file.slot) else {
                return Ok(None);
            };
            txn.remove_file(key)?;
            let Some(slot) = slot else { return Ok(None) };
            match txn.drop_job_of(&slot, key)? {
                Some(job) => {
                    txn.note(&event(&slot, &job, Done::SourceGone, now))?;
                    Ok(Some(slot))
                }
                None => Ok(None),
            }
        })?;
        let Some(slot) = dropped else {
            return Ok(Vec::new());
        };
        self.trim_history()?;
        self.others(&slot, key)
    }

    /// Files beside `key` that were for this slot, to be read again whatever their times say.
    fn others(&self, address: &SlotAddress, key: &FileKey) -> Result<Vec<FileKey>> {
        // Most slots have one file for ever; only for the others all files are gone through.
        if !self.slot(address)?.contested {
            return Ok(Vec::new());
        }
        let mut others = Vec::new();
        for entry in self.files() {
            let (other, file) = entry?;
            if other != *key && file.slot.as_ref() == Some(address) {
                let file = FileRecord {
                    fingerprint: Fingerprint::UNKNOWN,
                    ..file
                };
                self.write(|txn| txn.put_file(&other, &file))?;
                others.push(other);
            }
        }
        Ok(others)
    }

    /// The job of `lane` that is due first.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn next(&self, lane: &SpreadsheetRef) -> Result<Option<Waiting>> {
        let Some(entry) = self.0.queue.scan_prefix(lane_prefix(lane)).next() else {
            return Ok(None);
        };
        let (queue_entry, key) = entry.map_err(|source| self.failed(source))?;
        let damaged = |damage| self.damaged("queue", damage);
        let address = postcard::from_bytes(&key).map_err(|_| damaged(Damage::Content))?;
        let slot = self
            .read::<SlotRecord>("slots", &self.0.slots, &key)?
            .unwrap_or_default();
        // A writer may have moved the job between the two reads; it has woken the lane as well.
        let current = queue_key(&address, &slot).is_some_and(|key| queue_entry == key);
        match slot.job {
            Some(job) if current => match job.state {
                JobState::Queued { due } => Ok(Some(Waiting { address, job, due })),
                _ => Ok(None),
            },
            _ => {
                self.wake(lane);
                Ok(None)
            }
        }
    }

    /// Records that a call for `job` begins, so that a crash in it is known; `false` when a newer
    /// version has replaced the job. Survives the end of the process.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; the call must not be made then.
    pub fn begin(&self, address: &SlotAddress, job: &Job, now: Timestamp) -> Result<bool> {
        let begun = self.write(|txn| txn.slot(address, |slot| slot.begin(job, now)))?;
        self.0.db.flush().map_err(|source| self.failed(source))?;
        Ok(begun)
    }

    /// Records a receipt: ledger, history, and the next job if a newer version waits, which is then
    /// not due before `next_due`. On disk when this returns.
    ///
    /// # Errors
    /// When sled fails or a record is damaged. The cell holds the picture all the same; the intent
    /// recorded before leads to one repeat.
    pub fn written(
        &self,
        address: &SlotAddress,
        job: &Job,
        target: &Target,
        revision: Option<u64>,
        now: Timestamp,
        next_due: Timestamp,
    ) -> Result<()> {
        self.write(|txn| {
            let attempts = txn.slot(address, |slot| {
                let attempts = slot
                    .job_with(job.id)
                    .map_or(job.attempts + 1, |job| job.attempts);
                slot.written(job, target.clone(), revision, now);
                if let Some(Job {
                    state: JobState::Queued { due },
                    ..
                }) = &mut slot.job
                {
                    *due = (*due).max(next_due);
                }
                attempts
            })?;
            let done = Done::Written {
                target: target.clone(),
                revision,
                attempts,
            };
            txn.note(&event(address, job, done, now))
        })?;
        self.trim_history()?;
        self.sync()
    }

    /// Puts `job` back in its lane, due later. `untouched` says that a call was begun for it and surely
    /// changed nothing.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn postpone(
        &self,
        address: &SlotAddress,
        job: &Job,
        due: Timestamp,
        untouched: bool,
    ) -> Result<()> {
        self.change_slot(address, |slot| {
            if let Some(job) = slot.job_with(job.id) {
                job.state = JobState::Queued { due };
            }
            if untouched {
                slot.not_written();
            }
        })
    }

    /// Parks `job`; `false` when a newer version has replaced it. `untouched` says that a call was begun
    /// for it and surely changed nothing.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn park(
        &self,
        address: &SlotAddress,
        job: &Job,
        parked: &Parked,
        untouched: bool,
    ) -> Result<bool> {
        let current = self.write(|txn| {
            let current = txn.slot(address, |slot| {
                let current = slot.job_with(job.id).map(|job| {
                    job.state = JobState::Parked(parked.clone());
                });
                if untouched {
                    slot.not_written();
                }
                current.is_some()
            })?;
            if current {
                let done = Done::Parked(parked.reason.clone());
                txn.note(&event(address, job, done, parked.at))?;
            }
            Ok(current)
        })?;
        self.trim_history()?;
        Ok(current)
    }

    /// Sets `job` aside until its file has been looked at again. `untouched` says that a call was begun
    /// for it and surely changed nothing.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn set_stale(&self, address: &SlotAddress, job: &Job, untouched: bool) -> Result<()> {
        self.write(|txn| {
            let current = txn.slot(address, |slot| {
                let current = slot.job_with(job.id).map(|job| job.state = JobState::Stale);
                if untouched {
                    slot.not_written();
                }
                current
            })?;
            // Whatever the file's times say, it is to be read again.
            match (current, txn.file(&job.source)?) {
                (Some(()), Some(mut file)) => {
                    file.fingerprint = Fingerprint::UNKNOWN;
                    txn.put_file(&job.source, &file)
                }
                _ => Ok(()),
            }
        })
    }

    /// Drops `job` because the configuration no longer sends its file here, and forgets the file, so
    /// that it is looked at afresh when the configuration names it again.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn withdraw(&self, address: &SlotAddress, job: &Job) -> Result<()> {
        self.write(|txn| {
            txn.slot(address, |slot| {
                slot.job.take_if(|current| current.id == job.id).map(drop)
            })?;
            let theirs = txn.file(&job.source)?.and_then(|file| file.slot);
            if theirs.as_ref() == Some(address) {
                txn.remove_file(&job.source)
            } else {
                Ok(())
            }
        })
    }

    /// Puts parked jobs that `which` selects back in their lanes, due now. Tells how many.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn release(
        &self,
        now: Timestamp,
        which: impl Fn(&SlotAddress, &Job, &Parked) -> bool,
    ) -> Result<usize> {
        let mut released = 0;
        for entry in self.slots() {
            let (address, slot) = entry?;
            let Some(job) = slot.job else { continue };
            let JobState::Parked(parked) = &job.state else {
                continue;
            };
            if which(&address, &job, parked) {
                self.postpone(&address, &job, now, false)?;
                released += 1;
            }
        }
        Ok(released)
    }

    /// When `config` differs from that of the last run: releases what waits for a changed
    /// configuration, and has refused files looked at again.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn note_config(&self, config: ContentHash, now: Timestamp) -> Result<usize> {
        if read_meta(&self.0.dir, &self.0.meta, "config")? == Some(config) {
            return Ok(0);
        }
        let released = self.release(now, |_, _, parked| parked.until == Release::Person)?;
        for entry in self.files() {
            let (key, file) = entry?;
            if matches!(file.seen, Seen::Refused { .. }) {
                self.write(|txn| txn.remove_file(&key))?;
            }
        }
        self.put_meta("config", &config)?;
        Ok(released)
    }

    /// All files, in the order of mapping and path.
    pub fn files(&self) -> impl Iterator<Item = Result<(FileKey, FileRecord)>> + '_ {
        self.files_in(self.0.files.iter())
    }

    /// The files of one mapping, in the order of their paths.
    pub fn files_of(
        &self,
        mapping: &MappingName,
    ) -> impl Iterator<Item = Result<(FileKey, FileRecord)>> + '_ {
        self.files_in(
            self.0
                .files
                .scan_prefix([mapping.as_str().as_bytes(), &[0]].concat()),
        )
    }

    fn files_in(
        &self,
        found: sled::Iter,
    ) -> impl Iterator<Item = Result<(FileKey, FileRecord)>> + '_ {
        found.map(|entry| {
            let (key, sealed) = entry.map_err(|source| self.failed(source))?;
            let damaged = |damage| self.damaged("files", damage);
            let record = envelope::unseal(&key, &sealed).map_err(damaged)?;
            Ok((
                parse_file_key(&key).ok_or_else(|| damaged(Damage::Content))?,
                record,
            ))
        })
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = Result<(SlotAddress, SlotRecord)>> + '_ {
        self.0.slots.iter().map(|entry| {
            let (key, sealed) = entry.map_err(|source| self.failed(source))?;
            let damaged = |damage| self.damaged("slots", damage);
            let record = envelope::unseal(&key, &sealed).map_err(damaged)?;
            Ok((
                postcard::from_bytes(&key).map_err(|_| damaged(Damage::Content))?,
                record,
            ))
        })
    }

    /// What happened, the latest first.
    pub fn history(&self) -> impl Iterator<Item = Result<Event>> + '_ {
        self.0.history.iter().rev().map(|entry| {
            let (key, sealed) = entry.map_err(|source| self.failed(source))?;
            envelope::unseal(&key, &sealed).map_err(|damage| self.damaged("history", damage))
        })
    }

    /// Counts over all slots. Reads them all.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn totals(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        for entry in self.slots() {
            totals.count(&entry?.1);
        }
        Ok(totals)
    }

    /// How many jobs wait for their turn, in all lanes.
    pub fn queued(&self) -> usize {
        self.0.queue.len()
    }

    /// Writes everything through to the disk. sled's own `flush` leaves the last step to a background
    /// thread on Linux (spacejam/sled#1351), so a power cut could take what it acknowledged.
    ///
    /// # Errors
    /// When sled or the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.0.db.flush().map_err(|source| self.failed(source))?;
        self.0.log.sync_data().map_err(|source| StoreError::Sync {
            dir: self.0.dir.clone(),
            source,
        })
    }

    fn change_slot(&self, address: &SlotAddress, change: impl Fn(&mut SlotRecord)) -> Result<()> {
        self.write(|txn| txn.slot(address, &change))?;
        self.wake(&address.spreadsheet);
        Ok(())
    }

    /// Runs `body` on all trees at once: all of it is recorded, or nothing.
    fn write<R>(&self, body: impl Fn(&Txn<'_>) -> std::result::Result<R, Abort>) -> Result<R> {
        let sequence = self.next_id()?;
        let Inner {
            files,
            slots,
            queue,
            history,
            ..
        } = &*self.0;
        (files, slots, queue, history)
            .transaction(
                |(files, slots, queue, history)| -> ConflictableTransactionResult<R, _> {
                    body(&Txn {
                        files,
                        slots,
                        queue,
                        history,
                        sequence,
                    })
                },
            )
            .map_err(|error| match error {
                TransactionError::Abort((tree, damage)) => self.damaged(tree, damage),
                TransactionError::Storage(source) => self.failed(source),
            })
    }

    fn trim_history(&self) -> Result<()> {
        // Counted by additions alone: an occasional recount is cheaper than a tree length per write.
        if self.0.history_len.fetch_add(1, Ordering::Relaxed) < HISTORY_MOST + HISTORY_MOST / 10 {
            return Ok(());
        }
        let mut length = self.0.history.len();
        while length > HISTORY_MOST {
            self.0
                .history
                .pop_min()
                .map_err(|source| self.failed(source))?;
            length -= 1;
        }
        self.0.history_len.store(length, Ordering::Relaxed);
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
        Ok(())
    }

    fn failed(&self, source: sled::Error) -> StoreError {
        StoreError::Sled {
            dir: self.0.dir.clone(),
            source,
        }
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

fn event(address: &SlotAddress, job: &Job, done: Done, at: Timestamp) -> Event {
    Event {
        at,
        slot: address.clone(),
        source: job.source.clone(),
        hash: job.hash,
        done,
    }
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
