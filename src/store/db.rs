//! sled behind types: the trees, and the transactions that keep them in step.
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
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

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
use super::record::{Done, Event, Fingerprint, Job, JobState, Seen, SlotRecord, Timestamp};
use super::through::Through;
use super::together::{Member, Together};
use super::txn::{self, Abort, Steps, TALLY, Tally, Txn};
use crate::blocking::off_runtime_in_time;
use crate::placement::SlotAddress;

/// How many lines of history are kept.
const HISTORY_MOST: usize = 10_000;
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

mod durable;
mod files;
mod jobs;
mod opening;
mod read;
pub(super) mod rewrite;
mod rows;

pub use durable::Unsettled;
pub use files::{Placed, Reconfigured};
use opening::{IDS_FROM, open_db, read_meta};
pub(super) use opening::{SCHEMA, UNMARKED};
pub use rows::RowColumn;

type Result<T> = std::result::Result<T, StoreError>;
impl Store {
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
            let (key, mut file) = entry?;
            file.fingerprint = Fingerprint::UNKNOWN;
            // Its version may be the newest that is left.
            if let Seen::Image { arrival, .. } = &mut file.seen {
                *arrival = None;
            }
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

fn event(address: &SlotAddress, job: &Job, done: Done, at: Timestamp) -> Event {
    Event {
        at,
        slot: address.clone(),
        source: job.source.clone(),
        hash: job.hash,
        done,
    }
}

#[cfg(test)]
mod tests;
