//! What is known: files seen, what each slot holds, what waits, what happened. The only state that
//! rooms share, and the only room that names sled.
//!
//! The store is a record of what the cells hold; losing it may cost calls, never pictures. No image
//! bytes and no secrets are kept here.

mod calls;
mod db;
mod envelope;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod flusher;
mod generation;
mod home;
mod known;
mod lock;
mod record;
mod recover;
mod sweep;
mod through;
mod together;
mod txn;

pub use calls::{CallsFile, Count, Month};
pub use db::{Placed, Reconfigured, RowColumn, Store, Totals, Unsettled, Waiting};
pub use error::StoreError;
pub use home::prepare;
pub use known::{PathHash, PathHashes};
pub use lock::{Held, Lock, LockError};
pub use record::{
    Arrival, Done, Event, FileKey, FileRecord, Fingerprint, Intent, Job, JobState, Ledger, Parked,
    Release, Seen, SlotRecord, Target, Timestamp, Verdict,
};
pub use recover::{Opened, Rewritten, look, open};
