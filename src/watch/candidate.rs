//! All that leaves this room: candidates, batches of listed files, and the end of a listing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::placement::{RelPath, Route};
use crate::store::{Fingerprint, PathHash, PathHashes};

/// Counts what happens in one run of the daemon, so that any two arrivals have an order.
#[derive(Debug, Default)]
pub struct Ticks(AtomicU64);

impl Ticks {
    /// The next tick, from 1.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A path that may have changed.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Whose folder it lies in.
    pub route: Arc<Route>,
    /// The path.
    pub path: RelPath,
    /// What was noticed.
    pub hint: Hint,
    /// When.
    pub tick: u64,
}

/// What was noticed of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// A writer closed it, or it was renamed in: it may well be complete.
    Closed,
    /// Its content or attributes changed; a writer may still have it open.
    Touched,
    /// It was removed or renamed away.
    Gone,
    /// It was found changed when it was to be sent. Says nothing of the time: its own event does.
    Changed,
}

/// A file that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path.
    pub path: RelPath,
    /// The file as the listing saw it.
    pub fingerprint: Fingerprint,
}

/// The paths that a listing met, as hashes: 8 bytes a file, and some for room.
#[derive(Debug, Default)]
pub struct Met(PathHashes);

impl Met {
    pub(super) fn add(&mut self, path: &RelPath) {
        self.0.insert(PathHash::of(path));
    }

    /// Whether the listing met this path.
    pub fn contains(&self, path: PathHash) -> bool {
        self.0.contains(&path)
    }

    /// How many it met.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it met none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the watcher tells.
#[derive(Debug)]
pub enum Finding {
    /// A path may have changed.
    Candidate(Candidate),
    /// A listing found these files; at most `scan::BATCH`.
    Found {
        /// Whose folder they lie in.
        route: Arc<Route>,
        /// The files.
        files: Vec<Found>,
        /// The tick of the listing.
        tick: u64,
        /// It is the first since watching began: when these arrived, nobody saw.
        first: bool,
    },
    /// A listing of a whole folder ended, or the folder is not there to be listed.
    Listed {
        /// Whose folder.
        route: Arc<Route>,
        /// What it met, when that says something of what is gone: a folder that cannot be listed, or
        /// is empty as the place of a disk that is not mounted, says nothing.
        met: Option<Met>,
    },
}
