//! What lanes do with jobs: take the first, begin, record the receipt, postpone, park, release.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use super::{Result, Store, Unsettled, Waiting, event};
use crate::config::{MappingName, SpreadsheetRef};
use crate::placement::SlotAddress;
use crate::store::envelope::Damage;
use crate::store::record::{
    Done, FileKey, Fingerprint, Job, JobState, Parked, SlotRecord, Target, Timestamp,
};
use crate::store::txn::{lane_prefix, queue_key};

impl Store {
    /// Wakes when a job may have been queued for `lane`. A wake-up may be spurious.
    pub fn waker(&self, lane: &SpreadsheetRef) -> Arc<Notify> {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(lane.to_string()).or_default())
    }

    pub(super) fn wake(&self, lane: &SpreadsheetRef) {
        self.waker(lane).notify_one();
    }

    /// The job of `lane` that is due first.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn next(&self, lane: &SpreadsheetRef) -> Result<Option<Waiting>> {
        self.next_of(lane, |_| true)
    }

    /// The same among those that `which` selects. Reads all that are due before it.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn next_of(
        &self,
        lane: &SpreadsheetRef,
        which: impl Fn(&Job) -> bool,
    ) -> Result<Option<Waiting>> {
        for entry in self.0.queue.scan_prefix(lane_prefix(lane)) {
            let (queue_entry, key) = entry.map_err(|source| self.failed(source))?;
            match self.queued_at(&queue_entry, &key)? {
                Some(waiting) if !which(&waiting.job) => {}
                Some(waiting) => return Ok(Some(waiting)),
                None => {
                    // Whoever moved it has woken the lane as well; it may have looked too early.
                    self.wake(lane);
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Of each mapping that feeds `lane`, the job that arrived last of those that are due. Reads the whole
    /// lane.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn newest(
        &self,
        lane: &SpreadsheetRef,
        is_due: impl Fn(&Waiting) -> bool,
    ) -> Result<BTreeMap<MappingName, Waiting>> {
        let mut newest: BTreeMap<MappingName, Waiting> = BTreeMap::new();
        for entry in self.0.queue.scan_prefix(lane_prefix(lane)) {
            let (queue_entry, key) = entry.map_err(|source| self.failed(source))?;
            let Some(waiting) = self.queued_at(&queue_entry, &key)? else {
                continue;
            };
            let mapping = &waiting.job.source.mapping;
            let later = newest
                .get(mapping)
                .is_none_or(|other| waiting.job.arrival > other.job.arrival);
            if later && is_due(&waiting) {
                newest.insert(mapping.clone(), waiting);
            }
        }
        Ok(newest)
    }

    /// The job of a queue entry; `None` when a writer has moved it since the entry was read.
    fn queued_at(&self, queue_entry: &[u8], key: &[u8]) -> Result<Option<Waiting>> {
        let damaged = |damage| self.damaged("queue", damage);
        let address = postcard::from_bytes(key).map_err(|_| damaged(Damage::Content))?;
        let slot = self
            .read::<SlotRecord>("slots", &self.0.slots, key)?
            .unwrap_or_default();
        let current = queue_key(&address, &slot).is_some_and(|key| queue_entry == key);
        Ok(match slot.job.filter(|_| current) {
            Some(job) => match job.state {
                JobState::Queued { due } => Some(Waiting { address, job, due }),
                _ => None,
            },
            None => None,
        })
    }

    /// Records that a call for `job` begins, so that a crash in it is known; `None` when a newer
    /// version has replaced the job. Where the cell is known to hold something it must be settled before the
    /// request is whole: a ledger without the intent that unsettles it would say after a power cut that the
    /// cell holds what the call replaced. Elsewhere it may be lost ([`Unsettled::may_be_lost`]), but one whole
    /// call of a lane at most may be without its receipt on disk.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; the call must not be made then.
    pub fn begin(
        &self,
        address: &SlotAddress,
        job: &Job,
        now: Timestamp,
    ) -> Result<Option<Unsettled>> {
        self.still_there()?;
        let (address, job) = (address.clone(), job.clone());
        let (_, (begun, held)) = self.write_together(move |txn| {
            txn.slot(&address, |slot| {
                let held = slot.held().is_some();
                (slot.begin(&job, now), held)
            })
        })?;
        Ok(begun.then_some(Unsettled {
            receipt: None,
            // Nothing can be taken for written where nothing was.
            may_be_lost: !held,
        }))
    }

    /// Records a receipt: ledger, history, and the next job if a newer version waits, which is then
    /// not due before `next_due`.
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
    ) -> Result<Unsettled> {
        let (address, job, target) = (address.clone(), job.clone(), target.clone());
        let (sequence, ()) = self.write_together(move |txn| {
            let attempts = txn.slot(&address, |slot| {
                let attempts = slot
                    .job_with(job.id)
                    .map_or(job.attempts + 1, |job| job.attempts);
                slot.written(&job, target.clone(), revision, now);
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
            txn.note(&event(&address, &job, done, now))
        })?;
        self.trim_history()?;
        Ok(Unsettled {
            receipt: Some(sequence),
            may_be_lost: false,
        })
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

    /// Takes back that a call was begun for `job`: none was made, and it is due as before.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn not_made(&self, address: &SlotAddress, job: &Job) -> Result<()> {
        self.change_slot(address, |slot| slot.not_made(job))
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
    /// for it and surely changed nothing. A job that has become another file's with the same content, or that
    /// was looked at meanwhile, stays due: nobody would look at that file again.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn set_stale(&self, address: &SlotAddress, job: &Job, untouched: bool) -> Result<()> {
        let current = self.write(|txn| {
            let current = txn.slot(address, |slot| {
                let same =
                    |now: &&mut Job| now.source == job.source && now.fingerprint == job.fingerprint;
                let current = slot.job_with(job.id).filter(same);
                let current = current.map(|job| job.state = JobState::Stale);
                if untouched {
                    slot.not_written();
                }
                current
            })?;
            // Whatever the file's times say, it is to be read again.
            if let (Some(()), Some(mut file)) = (current, txn.file(&job.source)?) {
                file.fingerprint = Fingerprint::UNKNOWN;
                txn.put_file(&job.source, &file)?;
            }
            Ok(current.is_some())
        })?;
        if !current {
            self.wake(&address.spreadsheet);
        }
        Ok(())
    }

    /// Drops `job` because the configuration no longer sends its file here, and forgets the file, so
    /// that it is looked at afresh when the configuration names it again; the history says so. Returns
    /// other files that were for the same slot, as [`Self::refuse`] does.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn withdraw(
        &self,
        address: &SlotAddress,
        job: &Job,
        now: Timestamp,
    ) -> Result<Vec<FileKey>> {
        let current = self.write(|txn| {
            let current = txn.slot(address, |slot| {
                slot.job.take_if(|current| current.id == job.id).is_some()
            })?;
            let theirs = txn.file(&job.source)?.and_then(|file| file.slot);
            if theirs.as_ref() == Some(address) {
                txn.remove_file(&job.source)?;
            }
            if current {
                txn.note(&event(address, job, Done::Withdrawn, now))?;
            }
            Ok(current)
        })?;
        if !current {
            return Ok(Vec::new());
        }
        self.trim_history()?;
        self.others(address, &job.source)
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
        self.release_among(self.slots(), now, which)
    }

    /// The same in one spreadsheet; no other is read.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn release_of(
        &self,
        spreadsheet: &SpreadsheetRef,
        now: Timestamp,
        which: impl Fn(&SlotAddress, &Job, &Parked) -> bool,
    ) -> Result<usize> {
        self.release_among(self.slots_of(spreadsheet), now, which)
    }

    fn release_among(
        &self,
        slots: impl Iterator<Item = Result<(SlotAddress, SlotRecord)>>,
        now: Timestamp,
        which: impl Fn(&SlotAddress, &Job, &Parked) -> bool,
    ) -> Result<usize> {
        let mut released = 0;
        for entry in slots {
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

    /// Makes jobs that `which` selects and that wait after a failure due now. Tells how many.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn hasten(
        &self,
        now: Timestamp,
        which: impl Fn(&SlotAddress, &Job) -> bool,
    ) -> Result<usize> {
        let mut hastened = 0;
        for entry in self.slots() {
            let (address, slot) = entry?;
            // A first call that is still to come waits for its slot's interval.
            let failed = |job: &Job| job.attempts > 0;
            let Some(job) = slot.job.filter(failed) else {
                continue;
            };
            let waits = matches!(job.state, JobState::Queued { due } if due > now);
            if waits && which(&address, &job) {
                self.postpone(&address, &job, now, false)?;
                hastened += 1;
            }
        }
        Ok(hastened)
    }

    fn change_slot(&self, address: &SlotAddress, change: impl Fn(&mut SlotRecord)) -> Result<()> {
        self.write(|txn| txn.slot(address, &change))?;
        self.wake(&address.spreadsheet);
        Ok(())
    }
}
