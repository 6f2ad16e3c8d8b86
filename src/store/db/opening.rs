//! Opens the database, and puts what is derived in step with what is recorded. Damage is only told: what becomes of
//! it is [`recover`](crate::store::recover)'s.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use serde::de::DeserializeOwned;
use sled::{Db, Tree};

use super::{Inner, Result, Store, read};
use crate::placement::SlotAddress;
use crate::store::envelope::{self, Damage};
use crate::store::error::StoreError;
use crate::store::flusher::Flusher;
use crate::store::known::Known;
use crate::store::record::{Job, JobState, SlotRecord, Timestamp};
use crate::store::sweep::{self, Sweep};
use crate::store::through::Through;
use crate::store::together::Together;
use crate::store::txn::{Tally, queue_key, slot_key, stamp};

/// sled's page cache. Its own default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled's threads may hold its lock for a moment after its last handle is gone (measured: a reopening
/// in the same process failed about once in 700 times on a busy machine). Another process cannot be the
/// holder: [`crate::store::Lock`] is taken first.
const STILL_CLOSING: ConstantBuilder = ConstantBuilder::new()
    .with_delay(Duration::from_millis(10))
    .with_max_times(500);
/// Where in `meta` stands from where on numbers are new.
pub(super) const IDS_FROM: &str = "ids from";
/// Grows when the trees or keys change.
/// 1: no tally. Opening such a store adds it.
/// 2: files without arrivals. They are read as what they are, and each is recorded with its own when it changes.
pub(in crate::store) const SCHEMA: u32 = 3;
/// The last one that had no tally, and no mark beside it.
pub(in crate::store) const UNMARKED: u32 = 1;

/// Queue entries, each with its slot's key.
type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// What some slots say.
#[derive(Default)]
struct Surveyed {
    /// The queue entries that they ask for.
    wanted: Entries,
    /// The sum of their stamps.
    stamps: u64,
    /// The jobs that wait for a look.
    stale: Vec<(SlotAddress, Job)>,
}

impl Store {
    /// Opens or creates the database in `dir`. [`crate::store::open`] is the way in: it takes care of damage.
    /// Its epoch is later than `epoch` and than that of its last run.
    pub(in crate::store) fn open(dir: &Path, epoch: u64) -> Result<Self> {
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
        let (slots, stale) = store.mend_queue()?;
        match tally {
            Some(tally) if tally.slots == slots => {}
            None if found <= UNMARKED || store.0.slots.is_empty() => {
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
        // Who was to look at their files is gone. Whoever sends them finds out as well.
        for (address, job) in stale {
            store.postpone(&address, &job, Timestamp::now(), false)?;
        }
        store.sync()?;
        Ok(store)
    }

    /// Puts the queue in step with the slots, which alone say what waits, and so reads every slot once.
    /// Returns the sum of their stamps, and the jobs that wait for a look.
    pub(super) fn mend_queue(&self) -> Result<(u64, Vec<(SlotAddress, Job)>)> {
        let middle = self.middle_slot()?;
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| self.survey(self.0.slots.range(middle.clone()..)));
            let first = self.survey(self.0.slots.range(..middle.clone()));
            (first, second.join())
        });
        let Surveyed {
            mut wanted,
            stamps,
            mut stale,
        } = first?;
        let second = second.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        wanted.extend(second.wanted);
        stale.extend(second.stale);
        let stamps = stamps.wrapping_add(second.stamps);
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
        Ok((stamps, stale))
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

    fn survey(&self, slots: sled::Iter) -> Result<Surveyed> {
        let mut surveyed = Surveyed::default();
        for entry in read::letting_go(&self.0.slots, slots) {
            let (key, sealed) = entry.map_err(|source| self.failed(source))?;
            let damaged = |damage| self.damaged("slots", damage);
            let (sequence, slot): (_, SlotRecord) =
                envelope::open(&key, &sealed).map_err(damaged)?;
            surveyed.stamps = surveyed.stamps.wrapping_add(stamp(&key, sequence));
            if slot.job.is_none() {
                continue;
            }
            let address = postcard::from_bytes(&key).map_err(|_| damaged(Damage::Content))?;
            if let (Some(place), Ok(key)) = (queue_key(&address, &slot), slot_key(&address)) {
                surveyed.wanted.insert(place, key);
            }
            if let Some(job) = slot.job.filter(|job| job.state == JobState::Stale) {
                surveyed.stale.push((address, job));
            }
        }
        Ok(surveyed)
    }
}

/// sled gives this as an I/O error of no particular kind, with the system's answer in its text alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().starts_with("could not acquire lock"))
}

/// Opens or creates the database itself.
pub(super) fn open_db(dir: &Path) -> sled::Result<Db> {
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

fn any_id() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(super) fn read_meta<T: DeserializeOwned>(
    dir: &Path,
    meta: &Tree,
    key: &str,
) -> Result<Option<T>> {
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
