//! One transaction over all trees, and the keys of their records. Here alone a slot's record and its
//! queue entry change, and always together.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::transaction::{ConflictableTransactionError, TransactionalTree};

use super::envelope::{self, Damage};
use super::record::{Event, FileKey, FileRecord, Job, JobState, SlotRecord};
use crate::config::SpreadsheetRef;
use crate::placement::SlotAddress;

/// Why a transaction was given up.
pub type Abort = ConflictableTransactionError<(&'static str, Damage)>;

/// The trees within one transaction.
pub struct Txn<'a> {
    pub files: &'a TransactionalTree,
    pub slots: &'a TransactionalTree,
    pub queue: &'a TransactionalTree,
    pub history: &'a TransactionalTree,
    pub sequence: u64,
}

impl Txn<'_> {
    fn put<T: Serialize>(&self, tree: &TransactionalTree, key: &[u8], record: &T) -> Sealed {
        tree.insert(key, seal(key, self.sequence, record)?)?;
        Ok(())
    }

    pub fn file(&self, key: &FileKey) -> Result<Option<FileRecord>, Abort> {
        get("files", self.files, &file_key(key))
    }

    pub fn put_file(&self, key: &FileKey, record: &FileRecord) -> Sealed {
        self.put(self.files, &file_key(key), record)
    }

    pub fn remove_file(&self, key: &FileKey) -> Sealed {
        self.files.remove(file_key(key))?;
        Ok(())
    }

    /// Changes a slot's record and its queue entry together.
    pub fn slot<R>(
        &self,
        address: &SlotAddress,
        change: impl FnOnce(&mut SlotRecord) -> R,
    ) -> Result<R, Abort> {
        let key = slot_key(address)?;
        let mut record: SlotRecord = get("slots", self.slots, &key)?.unwrap_or_default();
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
        }
        Ok(answer)
    }

    pub fn note(&self, event: &Event) -> Sealed {
        self.put(self.history, &self.sequence.to_be_bytes(), event)
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
    let Some(sealed) = tree.get(key)? else {
        return Ok(None);
    };
    let record = envelope::unseal(key, &sealed)
        .map_err(|damage| ConflictableTransactionError::Abort((name, damage)))?;
    Ok(Some(record))
}

/// Whether something was put into the transaction.
pub type Sealed = Result<(), Abort>;

fn seal<T: Serialize>(key: &[u8], sequence: u64, record: &T) -> Result<Vec<u8>, Abort> {
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
