//! What stands where, as one value: from the running daemon, or from the store when none runs. Reads
//! only.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::placement::Routes;
use crate::store::{JobState, Release, Seen, Store, StoreError, Timestamp, Totals, Verdict};
use crate::upload::{Calls, Closed, LaneState};
use crate::watch::FolderState;

/// Longest list of parked jobs and of refused files; their counts are exact.
const LIST_MOST: usize = 1000;

/// An answer under way; `None` when the store does not answer, which is logged.
pub(super) type Asking = Pin<Box<dyn Future<Output = Option<Snapshot>> + Send>>;

/// What stands where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The daemon, when one runs.
    pub running: Option<Running>,
    /// Over all slots.
    pub totals: Totals,
    /// In the order of the configuration, and then what the store still knows of others.
    pub mappings: Vec<MappingStatus>,
    /// One a spreadsheet.
    pub lanes: Vec<LaneStatus>,
    /// Why nothing is sent at all.
    pub gate: Option<Closed>,
    /// Calls made; unknown when what was recorded cannot be read.
    pub calls: Option<Calls>,
    /// Jobs that wait for a person or a change; at most 1,000.
    pub parked: Vec<ParkedJob>,
    /// Files that are not sent as they are; at most 1,000.
    pub refused: Vec<RefusedFile>,
}

/// The running daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub since: Timestamp,
    /// Whether the first comparison of all folders is done.
    pub ready: bool,
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingStatus {
    /// Its name.
    pub name: String,
    /// Its folder; empty when the configuration no longer names it.
    pub folder: String,
    /// Where the folder stands; unknown when no daemon runs.
    pub state: Option<FolderState>,
    /// Files known to be images.
    pub images: u64,
    /// Files that will not be sent.
    pub rejected: u64,
    /// Files that are not complete or not readable.
    pub held: u64,
    /// Jobs that wait for their turn.
    pub queued: u64,
    /// Jobs that are parked.
    pub parked: u64,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The document.
    pub spreadsheet: String,
    /// What it is doing.
    pub state: LaneState,
    /// Why it sends nothing.
    pub gate: Option<Closed>,
}

/// A parked job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedJob {
    /// The mapping.
    pub mapping: String,
    /// The file.
    pub file: String,
    /// The slot.
    pub slot: String,
    /// What happened and what to do.
    pub reason: String,
    /// The API's code.
    pub code: Option<i64>,
    /// The API's log id.
    pub log_id: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Calls made.
    pub attempts: u32,
    /// What releases it.
    pub until: Release,
}

/// A file that is not sent as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedFile {
    /// The mapping.
    pub mapping: String,
    /// The file.
    pub file: String,
    /// The slot it would be for.
    pub slot: Option<String>,
    /// Rejected or held.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Reads the store. What only a running daemon knows is filled in by it.
///
/// # Errors
/// When the store fails.
pub fn gather(store: &Store, routes: &Routes) -> Result<Snapshot, StoreError> {
    let mut mappings: BTreeMap<String, MappingStatus> = BTreeMap::new();
    let (mut parked, mut refused) = (Vec::new(), Vec::new());
    for entry in store.files() {
        let (key, file) = entry?;
        let counts = of(&mut mappings, key.mapping.as_str());
        match file.seen {
            Seen::Image { .. } => counts.images += 1,
            Seen::Refused { verdict, reason } => {
                match verdict {
                    Verdict::Rejected => counts.rejected += 1,
                    Verdict::Held => counts.held += 1,
                }
                if refused.len() < LIST_MOST {
                    refused.push(RefusedFile {
                        mapping: key.mapping.to_string(),
                        file: key.path.to_string(),
                        slot: file.slot.map(|address| address.slot.to_string()),
                        verdict,
                        reason,
                        since: file.at,
                    });
                }
            }
        }
    }
    let mut totals = Totals::default();
    for entry in store.slots() {
        let (address, slot) = entry?;
        totals.count(&slot);
        let Some(job) = slot.job else { continue };
        let counts = of(&mut mappings, job.source.mapping.as_str());
        match job.state {
            JobState::Queued { .. } | JobState::Stale => counts.queued += 1,
            JobState::Parked(why) => {
                counts.parked += 1;
                if parked.len() < LIST_MOST {
                    parked.push(ParkedJob {
                        mapping: job.source.mapping.to_string(),
                        file: job.source.path.to_string(),
                        slot: address.slot.to_string(),
                        reason: why.reason,
                        code: why.code,
                        log_id: why.log_id,
                        since: why.at,
                        attempts: job.attempts,
                        until: why.until,
                    });
                }
            }
        }
    }
    let mut listed = Vec::new();
    for route in routes.iter() {
        let name = route.mapping.name.as_str();
        let mut status = mappings.remove(name).unwrap_or_else(|| empty(name));
        status.folder = route.mapping.folder.display().to_string();
        listed.push(status);
    }
    listed.extend(mappings.into_values());
    Ok(Snapshot {
        running: None,
        totals,
        mappings: listed,
        lanes: Vec::new(),
        gate: None,
        calls: None,
        parked,
        refused,
    })
}

fn of<'a>(mappings: &'a mut BTreeMap<String, MappingStatus>, name: &str) -> &'a mut MappingStatus {
    mappings
        .entry(name.to_owned())
        .or_insert_with(|| empty(name))
}

fn empty(name: &str) -> MappingStatus {
    MappingStatus {
        name: name.to_owned(),
        folder: String::new(),
        state: None,
        images: 0,
        rejected: 0,
        held: 0,
        queued: 0,
        parked: 0,
    }
}
