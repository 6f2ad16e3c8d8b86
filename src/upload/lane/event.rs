//! What a lane says of itself: what it is doing, and what happened in it. Values alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SpreadsheetRef;
use crate::placement::SlotAddress;
use crate::store::{FileKey, Target, Timestamp};

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum LaneState {
    /// The folders are being compared.
    #[default]
    Starting,
    /// Nothing is due.
    Idle,
    /// A call is in flight.
    Sending {
        /// The file.
        file: String,
        /// The slot.
        slot: String,
        /// Since when.
        since: Timestamp,
    },
    /// It waits after a failure.
    Waiting {
        /// What failed.
        why: String,
        /// Calls that failed in a row.
        failures: u32,
        /// Until when.
        until: Timestamp,
    },
}

/// What happened in a lane.
#[derive(Debug, Clone)]
pub enum LaneEvent {
    /// A picture is in its cell.
    Written {
        /// The file.
        source: FileKey,
        /// The slot.
        address: SlotAddress,
        /// The cell.
        target: Target,
        /// The sheet's version, when the answer told it.
        revision: Option<u64>,
        /// The picture's length in bytes.
        bytes: u64,
        /// From the first byte of the call to its answer.
        took: Duration,
    },
    /// A job was parked.
    Parked {
        /// The file.
        source: FileKey,
        /// The slot.
        address: SlotAddress,
        /// Why.
        reason: String,
    },
    /// A call failed and will be repeated.
    Failed {
        /// The document.
        spreadsheet: SpreadsheetRef,
        /// Why.
        reason: String,
        /// Calls of this lane that failed in a row.
        failures: u32,
    },
    /// A gate closed until a probe gets through.
    GateClosed {
        /// Why, and what to do.
        reason: String,
    },
}
