//! What intake records of files: what was found in each, and what that means for its slot.

use super::{Result, Store, event, read_meta};
use crate::config::MappingName;
use crate::image::ContentHash;
use crate::placement::{RelPath, SlotAddress};
use crate::store::known::{Digest, PathHash};
use crate::store::record::{
    Arrival, Done, FileKey, FileRecord, Fingerprint, Job, JobState, Release, Seen, SlotRecord,
    Timestamp,
};

impl Store {
    /// Which of these files of a mapping, each with the slot that its rule names, are as they were when they
    /// were last looked at. One with neither slot nor record counts as well.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn unchanged<'a>(
        &self,
        mapping: &MappingName,
        files: impl IntoIterator<Item = (&'a RelPath, &'a Fingerprint, Placed<'a>)>,
    ) -> Result<Vec<bool>> {
        self.ensure_known(mapping)?;
        let known = self.0.known.copies();
        let is_known = |(path, fingerprint, placed): (_, _, Placed<'_>)| match (
            known.get(mapping, PathHash::of(path)),
            placed,
        ) {
            (None, placed) => matches!(placed, Placed::Nowhere),
            (Some(known), Placed::Nowhere | Placed::Without) => {
                known == Digest::of(fingerprint, None)
            }
            (Some(known), Placed::In(slot)) => known == Digest::of(fingerprint, Some(slot)),
        };
        Ok(files.into_iter().map(is_known).collect())
    }

    /// Whether every known file of the mapping is among those that `met` knows.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn all_met(&self, mapping: &MappingName, met: impl Fn(PathHash) -> bool) -> Result<bool> {
        self.ensure_known(mapping)?;
        Ok(self.0.known.copies().all(mapping, met))
    }

    fn ensure_known(&self, mapping: &MappingName) -> Result<()> {
        self.0.known.ensure(mapping, || {
            self.files_of(mapping)
                .map(|entry| {
                    let (key, record) = entry?;
                    Ok((PathHash::of(&key.path), Digest::of_record(&record)))
                })
                .collect()
        })
    }

    /// Records a whole image and lets `decide` say what it means for its slot.
    ///
    /// When the file's rule names another slot than before, a job that waited in the old one goes.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn take_image<R: Send + 'static>(
        &self,
        key: &FileKey,
        record: &FileRecord,
        address: &SlotAddress,
        decide: impl Fn(&mut SlotRecord) -> R + Send + Sync + 'static,
    ) -> Result<R> {
        let (key, record, slot) = (key.clone(), record.clone(), address.clone());
        let (_, answer) = self.write_together(move |txn| {
            let before = txn.file(&key)?.and_then(|file| file.slot);
            if let Some(before) = before.filter(|before| *before != slot) {
                txn.drop_job_of(&before, &key)?;
            }
            txn.put_file(&key, &record)?;
            txn.slot(&slot, &decide)
        })?;
        self.wake(&address.spreadsheet);
        Ok(answer)
    }

    /// Records a file whose content is not sent. The job that an earlier content of it waits with
    /// goes: those bytes are no more. Returns the file that was for the same slot and arrived last, which may be the
    /// newest now and is to be looked at again; several where it is not known when they arrived.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn refuse(&self, key: &FileKey, record: &FileRecord) -> Result<Vec<FileKey>> {
        let dropped = self.write(|txn| {
            let file = txn.file(key)?;
            // It was itself asked for in place of another.
            let mut dropped = file.as_ref().and_then(FileRecord::asked_for).cloned();
            let before = file.and_then(|file| file.slot);
            for address in before.iter().chain(&record.slot) {
                dropped = txn
                    .drop_job_of(address, key)?
                    .map(|_| address.clone())
                    .or(dropped);
            }
            txn.put_file(key, record)?;
            Ok(dropped)
        })?;
        dropped.map_or(Ok(Vec::new()), |address| self.next_newest(&address, key))
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

    /// Records that a file's attributes changed and its content did not: that is no new arrival. A job that waited
    /// for this look is due again.
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
        let due = self.write(|txn| {
            txn.put_file(key, record)?;
            txn.slot(address, |slot| {
                let ours = |job: &&mut Job| job.source == *key && job.hash == hash;
                let Some(job) = slot.job.as_mut().filter(ours) else {
                    return false;
                };
                job.fingerprint = record.fingerprint;
                let stale = job.state == JobState::Stale;
                if stale {
                    job.state = JobState::Queued { due: record.at };
                }
                stale
            })
        })?;
        if due {
            self.wake(&address.spreadsheet);
        }
        Ok(())
    }

    /// Forgets a file that is gone. Its waiting job goes, and the history says so; the ledger stays. `place` is where
    /// its job is when nothing is recorded of the file itself.
    /// Returns what [`Self::refuse`] does.
    ///
    /// # Errors
    /// When sled fails or a record is damaged; nothing has changed then.
    pub fn forget(
        &self,
        key: &FileKey,
        place: Option<&SlotAddress>,
        now: Timestamp,
    ) -> Result<Vec<FileKey>> {
        let dropped = self.write(|txn| {
            let file = txn.file(key)?;
            let asked = file.as_ref().and_then(FileRecord::asked_for).cloned();
            let slot = match file {
                Some(file) => {
                    txn.remove_file(key)?;
                    file.slot
                }
                None => place.cloned(),
            };
            let Some(slot) = slot else { return Ok(asked) };
            match txn.drop_job_of(&slot, key)? {
                Some(job) => {
                    txn.note(&event(&slot, &job, Done::SourceGone, now))?;
                    Ok(Some(slot))
                }
                None => Ok(asked),
            }
        })?;
        let Some(slot) = dropped else {
            return Ok(Vec::new());
        };
        self.trim_history()?;
        self.next_newest(&slot, key)
    }

    /// The file beside `key` that was for this slot and arrived last, to be read again whatever its times say; all of
    /// them where of none is known when it arrived.
    fn next_newest(&self, address: &SlotAddress, key: &FileKey) -> Result<Vec<FileKey>> {
        let mut images = self.images_beside(address, key)?;
        let last = images.iter().enumerate().max_by_key(|(_, image)| *image);
        if let Some((at, (Some(_), _))) = last {
            images = vec![images.swap_remove(at)];
        }
        self.look_again_at(images)
    }

    /// Files beside `key` that were for this slot, to be read again whatever their times say.
    pub(super) fn others(&self, address: &SlotAddress, key: &FileKey) -> Result<Vec<FileKey>> {
        let mut images = self.images_beside(address, key)?;
        // The others arrived before these, but would arrive now.
        if images.iter().any(|(arrival, _)| arrival.is_some()) {
            images.retain(|(arrival, _)| arrival.is_some());
        }
        self.look_again_at(images)
    }

    /// Images beside that of `key` that were for this slot, each with its arrival where that is known: an earlier
    /// schema did not record it.
    fn images_beside(
        &self,
        address: &SlotAddress,
        key: &FileKey,
    ) -> Result<Vec<(Option<Arrival>, FileKey)>> {
        let mut images = Vec::new();
        // Most slots have one file for ever; only for the others all files are gone through.
        if !self.slot(address)?.contested {
            return Ok(images);
        }
        for entry in self.files() {
            let (other, file) = entry?;
            if other != *key
                && file.slot.as_ref() == Some(address)
                && let Seen::Image { arrival, .. } = file.seen
            {
                images.push((arrival, other));
            }
        }
        Ok(images)
    }

    fn look_again_at(&self, images: Vec<(Option<Arrival>, FileKey)>) -> Result<Vec<FileKey>> {
        let again = images.into_iter().map(|(_, key)| {
            self.look_again(&key)?;
            Ok(key)
        });
        again.collect()
    }

    /// Has a file read again whatever its times say, also when this run ends first.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn look_again(&self, key: &FileKey) -> Result<()> {
        self.write(|txn| {
            let Some(file) = txn.file(key)? else {
                return Ok(());
            };
            let file = FileRecord {
                fingerprint: Fingerprint::UNKNOWN,
                ..file
            };
            txn.put_file(key, &file)
        })
    }

    /// When `config` differs from that of the last run: withdraws the jobs of files that it does not send
    /// to their slots, as `sends` tells, releases what waits for a changed configuration, and has refused
    /// files looked at again.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn note_config(
        &self,
        config: ContentHash,
        now: Timestamp,
        sends: impl Fn(&FileKey, &SlotAddress) -> bool,
    ) -> Result<Reconfigured> {
        let mut changed = Reconfigured::default();
        if read_meta(&self.0.dir, &self.0.meta, "config")? == Some(config) {
            return Ok(changed);
        }
        for entry in self.slots() {
            let (address, slot) = entry?;
            let Some(job) = slot.job else { continue };
            if !sends(&job.source, &address) {
                // The listing that follows meets the other files, whose times count for nothing now.
                self.withdraw(&address, &job, now)?;
                changed.withdrawn.push((job.source, address));
            }
        }
        changed.released = self.release(now, |_, _, parked| parked.until == Release::Person)?;
        for entry in self.files() {
            let (key, file) = entry?;
            if matches!(file.seen, Seen::Refused { .. }) {
                self.write(|txn| txn.remove_file(&key))?;
            }
        }
        self.put_meta("config", &config)?;
        Ok(changed)
    }
}

/// Where the rules send a file.
#[derive(Debug, Clone, Copy)]
pub enum Placed<'a> {
    /// To this slot.
    In(&'a SlotAddress),
    /// To none, although a rule takes it.
    Without,
    /// No rule takes it.
    Nowhere,
}

/// What a changed configuration changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Files whose jobs were withdrawn, each with the slot that it was for.
    pub withdrawn: Vec<(FileKey, SlotAddress)>,
    /// Parked jobs that are tried again.
    pub released: usize,
}
