//! What is known of one file or cell: the lines of the history about it, and the release of its parked
//! jobs. The same for the running daemon and for a store without one.

use serde::{Deserialize, Serialize};

use crate::placement::SlotAddress;
use crate::store::{Done, FileKey, Job, Store, StoreError, Target, Timestamp};

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When.
    pub at: Timestamp,
    /// The mapping.
    pub mapping: String,
    /// The file.
    pub file: String,
    /// The slot.
    pub slot: String,
    /// Short form of the content's hash.
    pub hash: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a version of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// It is in its cell.
    Written {
        /// The sheet's id and the cell.
        cell: String,
        /// The document's version, when the answer told it.
        revision: Option<u64>,
        /// Calls it took.
        attempts: u32,
    },
    /// It was parked.
    Parked {
        /// Why.
        reason: String,
    },
    /// Its file went away before it was sent.
    SourceGone,
    /// The configuration no longer sent its file there.
    Withdrawn,
}

/// The latest lines about a path or cell, or about everything; the newest first, at most so many.
///
/// # Errors
/// When sled fails or a record is damaged.
pub fn history(
    store: &Store,
    about: Option<&str>,
    most: usize,
) -> Result<Vec<HistoryLine>, StoreError> {
    let mut lines = Vec::new();
    for event in store.history() {
        let event = event?;
        let target = match &event.done {
            Done::Written { target, .. } => Some(target),
            _ => None,
        };
        if !about.is_none_or(|about| concerns(about, &event.source, &event.slot, target)) {
            continue;
        }
        if lines.len() == most {
            break;
        }
        lines.push(HistoryLine {
            at: event.at,
            mapping: event.source.mapping.to_string(),
            file: event.source.path.to_string(),
            slot: event.slot.slot.to_string(),
            hash: event.hash.to_string(),
            what: match event.done {
                Done::Written {
                    target,
                    revision,
                    attempts,
                } => What::Written {
                    cell: target.to_string(),
                    revision,
                    attempts,
                },
                Done::Parked(reason) => What::Parked { reason },
                Done::SourceGone => What::SourceGone,
                Done::Withdrawn => What::Withdrawn,
            },
        });
    }
    Ok(lines)
}

/// What a wish to try again came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Jobs that were parked.
    pub released: usize,
    /// Jobs that would have waited longer after a failure.
    pub hastened: usize,
    /// What was closed, and is tried at the next call.
    pub opened: Vec<Opened>,
}

/// A gate that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The spreadsheet's; `None`: the app's.
    pub spreadsheet: Option<String>,
    /// Why it was closed.
    pub reason: String,
}

/// Puts parked jobs of a path or cell, or all, back in their lanes, and makes those due that wait after a
/// failure. Gates are the daemon's. On disk when this returns.
///
/// # Errors
/// When sled or the disk fails, or a record is damaged.
pub fn retry(store: &Store, about: Option<&str>) -> Result<Retried, StoreError> {
    let meant = |address: &SlotAddress, job: &Job| {
        about.is_none_or(|about| concerns(about, &job.source, address, None))
    };
    let now = Timestamp::now();
    let hastened = store.hasten(now, meant)?;
    let released = store.release(now, |address, job, _| meant(address, job))?;
    store.sync()?;
    Ok(Retried {
        released,
        hastened,
        opened: Vec::new(),
    })
}

/// Whether somebody who says `about` means this: the file's path in its folder, with the mapping before
/// a colon or without, or the cell in either case, with the sheet's id or without.
fn concerns(about: &str, source: &FileKey, address: &SlotAddress, target: Option<&Target>) -> bool {
    let cell = |text: &str| text.eq_ignore_ascii_case(about);
    about == source.path.to_string()
        || about == source.to_string()
        || cell(&address.slot.to_string())
        || target.is_some_and(|target| cell(&target.cell.to_string()) || cell(&target.to_string()))
}
