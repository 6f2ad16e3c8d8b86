//! One transaction over all trees, and the keys of their records. Here alone a slot's record and its
//! queue entry change, and always together.

use std::cell::{Cell, RefCell};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionError, TransactionalTree};

use super::envelope::{self, Damage};
use super::known::{Change, Digest, PathHash};
use super::record::{Event, FileKey, FileRecord, Job, JobState, SlotRecord};
use crate::config::SpreadsheetRef;
use crate::image::ContentHash;
use crate::placement::SlotAddress;

/// Why a transaction was given up.
pub type Abort = ConflictableTransactionError<(&'static str, Damage)>;

/// What all transactions so far come to, recorded by each: a page of `slots` that lost its latest
/// change no longer fits, however well its records prove themselves one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Which database, drawn at random when it was made.
    pub store: u64,
    /// Of the latest transaction.
    pub sequence: u64,
    /// The sum of [`stamp`] over all slots.
    pub slots: u64,
}

/// Where the tally stands in `meta`.
pub const TALLY: &[u8] = b"tally";

/// Stands for one slot's record in the tally. No two sequences of a slot have the same.
pub fn stamp(key: &[u8], sequence: u64) -> u64 {
    let hash = ContentHash::of(&[&sequence.to_le_bytes(), key].concat());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// What takes place together in one transaction of sled's, one after the other.
pub struct Steps<'a> {
    pub files: &'a TransactionalTree,
    pub slots: &'a TransactionalTree,
    pub queue: &'a TransactionalTree,
    pub history: &'a TransactionalTree,
    /// After the steps so far.
    pub tally: Cell<Tally>,
    /// Whether they changed anything.
    pub changed: Cell<bool>,
    /// Files' records put and removed.
    pub files_changed: RefCell<Vec<Change>>,
}

impl Steps<'_> {
    /// One more. Its sequence, and what it answered.
    pub fn step<R>(
        &self,
        body: impl FnOnce(&Txn<'_>) -> Result<R, Abort>,
    ) -> Result<(u64, R), Abort> {
        let txn = Txn {
            files: self.files,
            slots: self.slots,
            queue: self.queue,
            history: self.history,
            tally: self.tally.get(),
            change: Cell::default(),
            files_changed: RefCell::default(),
        };
        let answer = body(&txn)?;
        let changes = txn.files_changed.take();
        self.files_changed.borrow_mut().extend(changes);
        if let Some(tally) = txn.tallied() {
            self.tally.set(tally);
            self.changed.set(true);
        }
        Ok((txn.sequence(), answer))
    }
}

/// The trees within one step of a transaction.
pub struct Txn<'a> {
    pub files: &'a TransactionalTree,
    pub slots: &'a TransactionalTree,
    pub queue: &'a TransactionalTree,
    pub history: &'a TransactionalTree,
    /// As the step began.
    pub tally: Tally,
    /// Slots' stamps added and taken away, and whether anything was written.
    pub change: Cell<(u64, bool)>,
    /// Files' records put and removed.
    pub files_changed: RefCell<Vec<Change>>,
}

impl Txn<'_> {
    fn put<T: Serialize>(&self, tree: &TransactionalTree, key: &[u8], record: &T) -> Sealed {
        tree.insert(key, seal(key, self.sequence(), record)?)?;
        self.change.set((self.change.get().0, true));
        Ok(())
    }

    /// Of this step; grows with every one, in the order in which they take place.
    pub fn sequence(&self) -> u64 {
        self.tally.sequence + 1
    }

    /// The tally to record with this step; `None` when it changed nothing.
    pub fn tallied(&self) -> Option<Tally> {
        let (slots, changed) = self.change.get();
        changed.then(|| Tally {
            sequence: self.sequence(),
            slots: self.tally.slots.wrapping_add(slots),
            ..self.tally
        })
    }

    pub fn file(&self, key: &FileKey) -> Result<Option<FileRecord>, Abort> {
        get("files", self.files, &file_key(key))
    }

    pub fn put_file(&self, key: &FileKey, record: &FileRecord) -> Sealed {
        self.file_changes(key, Some(Digest::of_record(record)));
        self.put(self.files, &file_key(key), record)
    }

    pub fn remove_file(&self, key: &FileKey) -> Sealed {
        self.file_changes(key, None);
        self.files.remove(file_key(key))?;
        // Counts as a transaction, so that no copy of `files` from before it passes for a present one.
        self.change.set((self.change.get().0, true));
        Ok(())
    }

    fn file_changes(&self, key: &FileKey, digest: Option<Digest>) {
        let change = (key.mapping.clone(), PathHash::of(&key.path), digest);
        self.files_changed.borrow_mut().push(change);
    }

    /// Changes a slot's record and its queue entry together.
    pub fn slot<R>(
        &self,
        address: &SlotAddress,
        change: impl FnOnce(&mut SlotRecord) -> R,
    ) -> Result<R, Abort> {
        let key = slot_key(address)?;
        let found = get_at::<SlotRecord>("slots", self.slots, &key)?;
        let (stamped, mut record) = match found {
            Some((sequence, record)) => (stamp(&key, sequence), record),
            None => (0, SlotRecord::default()),
        };
        let before = record.clone();
        let answer = change(&mut record);
        if record != before {
            let (old, new) = (queue_key(address, &before), queue_key(address, &record));
            if old != new {
                if let Some(old) = old {
                    self.queue.remove(old)?;
                }
                if let Some(new) = new {
                    self.queue.insert(new, key.as_slice())?;
                }
            }
            self.put(self.slots, &key, &record)?;
            let stamps = self.change.get().0.wrapping_sub(stamped);
            let stamps = stamps.wrapping_add(stamp(&key, self.sequence()));
            self.change.set((stamps, true));
        }
        Ok(answer)
    }

    pub fn note(&self, event: &Event) -> Sealed {
        self.put(self.history, &self.sequence().to_be_bytes(), event)
    }

    /// Drops the job that `source` waits with, if it is the slot's job.
    pub fn drop_job_of(
        &self,
        address: &SlotAddress,
        source: &FileKey,
    ) -> Result<Option<Job>, Abort> {
        self.slot(address, |slot| {
            slot.job.take_if(|job| job.source == *source)
        })
    }
}

fn get<T: DeserializeOwned>(
    name: &'static str,
    tree: &TransactionalTree,
    key: &[u8],
) -> Result<Option<T>, Abort> {
    Ok(get_at(name, tree, key)?.map(|(_, record)| record))
}

/// A record and the sequence of the transaction that wrote it.
pub fn get_at<T: DeserializeOwned>(
    name: &'static str,
    tree: &TransactionalTree,
    key: &[u8],
) -> Result<Option<(u64, T)>, Abort> {
    let Some(sealed) = tree.get(key)? else {
        return Ok(None);
    };
    let record = envelope::open(key, &sealed)
        .map_err(|damage| ConflictableTransactionError::Abort((name, damage)))?;
    Ok(Some(record))
}

/// Whether something was put into the transaction.
pub type Sealed = Result<(), Abort>;

pub fn seal<T: Serialize>(key: &[u8], sequence: u64, record: &T) -> Result<Vec<u8>, Abort> {
    // Our records hold nothing that postcard cannot encode; were it otherwise, nothing is written.
    envelope::seal(key, sequence, record)
        .map_err(|_| ConflictableTransactionError::Abort(("record", Damage::Content)))
}

/// Where a file's record stands.
pub fn file_key(key: &FileKey) -> Vec<u8> {
    [key.mapping.as_str().as_bytes(), &[0], key.path.as_bytes()].concat()
}

/// Where a slot's record stands.
pub fn slot_key(address: &SlotAddress) -> Result<Vec<u8>, Abort> {
    postcard::to_stdvec(address)
        .map_err(|_| ConflictableTransactionError::Abort(("slots", Damage::Content)))
}

/// What the keys of a spreadsheet's slots begin with: it is the first field of an address, and says
/// itself where it ends.
pub fn slots_prefix(spreadsheet: &SpreadsheetRef) -> Vec<u8> {
    // Writing to memory cannot fail; every key begins with nothing.
    postcard::to_stdvec(spreadsheet).unwrap_or_default()
}

/// What the queue entries of a lane begin with.
pub fn lane_prefix(lane: &SpreadsheetRef) -> Vec<u8> {
    [lane.to_string().as_bytes(), &[0]].concat()
}

/// The queue entry that a slot's record asks for.
pub fn queue_key(address: &SlotAddress, slot: &SlotRecord) -> Option<Vec<u8>> {
    let job = slot.job.as_ref()?;
    let JobState::Queued { due } = job.state else {
        return None;
    };
    let lane = lane_prefix(&address.spreadsheet);
    Some([lane.as_slice(), &due.0.to_be_bytes(), &job.id.to_be_bytes()].concat())
}

/// The file whose record stands under `key`.
pub fn parse_file_key(key: &[u8]) -> Option<FileKey> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let mapping = String::from_utf8(key[..end].to_vec())
        .ok()?
        .try_into()
        .ok()?;
    Some(FileKey {
        mapping,
        path: key[end + 1..].to_vec().try_into().ok()?,
    })
}
