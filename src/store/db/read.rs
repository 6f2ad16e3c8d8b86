//! What the store tells: files, slots, history, counts. Changes nothing.

use super::{Result, Store, Totals};
use crate::config::{MappingName, SpreadsheetRef};
use crate::placement::SlotAddress;
use crate::store::envelope::{self, Damage};
use crate::store::record::{Event, FileKey, FileRecord, Job, JobState, Seen, SlotRecord};
use crate::store::txn::{file_key, parse_file_key, slot_key, slots_prefix};

impl Store {
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
        letting_go(&self.0.files, found).map(|entry| {
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
        self.slots_in(self.0.slots.iter())
    }

    /// The slots of one spreadsheet. Reads no other.
    pub fn slots_of(
        &self,
        spreadsheet: &SpreadsheetRef,
    ) -> impl Iterator<Item = Result<(SlotAddress, SlotRecord)>> + '_ {
        self.slots_in(self.0.slots.scan_prefix(slots_prefix(spreadsheet)))
    }

    fn slots_in(
        &self,
        found: sled::Iter,
    ) -> impl Iterator<Item = Result<(SlotAddress, SlotRecord)>> + '_ {
        letting_go(&self.0.slots, found).map(|entry| {
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

    /// How many jobs wait for a look at their files that is still to come, in mappings that `can` be looked at. A file
    /// that was found to be held, as it may not be read, is looked at when it changes, and shown until then. Reads all
    /// slots.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn to_be_looked_at(&self, can: impl Fn(&MappingName) -> bool) -> Result<u64> {
        let mut looks = 0;
        for entry in self.slots() {
            let (_, slot) = entry?;
            let stale = |job: &Job| job.state == JobState::Stale && can(&job.source.mapping);
            if let Some(job) = slot.job.filter(stale) {
                let file = self.file(&job.source)?;
                let held = file.is_some_and(|file| matches!(file.seen, Seen::Refused { .. }));
                looks += u64::from(!held);
            }
        }
        Ok(looks)
    }

    /// Bytes on disk; `None` when the system does not say.
    pub fn size_on_disk(&self) -> Option<u64> {
        self.0.db.size_on_disk().ok()
    }

    /// How many jobs wait for their turn, in all lanes.
    pub fn queued(&self) -> usize {
        self.0.queue.len()
    }
}

/// Has sled let go the pages that it goes through. sled looks what to let go of when a page was asked for 64
/// times or others of its 256th of all pages were, and going through a tree asks for each page once: without
/// this up to 16,384 pages of some 5 kB stay in memory, whatever the capacity of the cache.
pub(super) fn letting_go(
    tree: &sled::Tree,
    found: sled::Iter,
) -> impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>> {
    found.enumerate().map(|(number, entry)| {
        let (key, value) = entry?;
        // A page holds up to 16 entries.
        if number % 2 == 0 {
            tree.contains_key(&key)?;
        }
        Ok((key, value))
    })
}
