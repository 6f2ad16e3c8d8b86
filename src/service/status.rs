//! What stands where, as one value: from the running daemon, or from the store when none runs. Reads
//! only.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::placement::Routes;
use crate::store::{JobState, Release, Seen, Store, StoreError, Timestamp, Totals, Verdict};
use crate::upload::{Calls, Closed, LaneState, Pace};
use crate::watch::FolderState;

/// Longest list of parked jobs and of refused files; their counts are exact.
const LIST_MOST: usize = 1000;
/// Waiting jobs listed: those that wait longest.
const WAITING_MOST: usize = 200;
/// A cell that waits longer for what it should hold, with nothing that explains it, is a fault.
const LATE: Duration = Duration::from_mins(15);

/// An answer under way; `None` when the store does not answer, which is logged.
pub(super) type Asking = Pin<Box<dyn Future<Output = Option<Snapshot>> + Send>>;

/// What stands where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The daemon, when one runs.
    pub running: Option<Running>,
    /// What is wrong although nothing says so: cells that wait too long. Known of a running daemon alone.
    pub degraded: Option<String>,
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
    /// Cells that do not hold what they should yet: the 200 that wait longest.
    pub waiting: Vec<WaitingJob>,
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
    /// Since when the oldest of them waits.
    pub waiting_since: Option<Timestamp>,
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

/// A cell that does not hold yet what it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// The mapping.
    pub mapping: String,
    /// The file.
    pub file: String,
    /// The slot.
    pub slot: String,
    /// The document, as the lanes are named.
    pub spreadsheet: String,
    /// Short form of the hash of what it should hold.
    pub wanted: String,
    /// The same of what it holds, as far as that is known.
    pub held: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Not before this; `None` while the file is looked at again.
    pub due: Option<Timestamp>,
    /// Calls made.
    pub attempts: u32,
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
    let mut waiting = BTreeMap::new();
    for entry in store.slots() {
        let (address, slot) = entry?;
        totals.count(&slot);
        let held = slot.ledger.as_ref().map(|ledger| ledger.hash.to_string());
        let Some(job) = slot.job else { continue };
        let counts = of(&mut mappings, job.source.mapping.as_str());
        match job.state {
            JobState::Queued { .. } | JobState::Stale => {
                counts.queued += 1;
                let oldest = counts.waiting_since.get_or_insert(job.since);
                *oldest = job.since.min(*oldest);
                let due = match job.state {
                    JobState::Queued { due } => Some(due),
                    _ => None,
                };
                let (since, id) = (job.since, job.id);
                let job = WaitingJob {
                    mapping: job.source.mapping.to_string(),
                    file: job.source.path.to_string(),
                    slot: address.slot.to_string(),
                    spreadsheet: address.spreadsheet.to_string(),
                    wanted: job.hash.to_string(),
                    held,
                    since,
                    due,
                    attempts: job.attempts,
                };
                waiting.insert((since, id), job);
                if waiting.len() > WAITING_MOST {
                    waiting.pop_last();
                }
            }
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
        degraded: None,
        totals,
        mappings: listed,
        lanes: Vec::new(),
        gate: None,
        calls: None,
        waiting: waiting.into_values().collect(),
        parked,
        refused,
    })
}

impl Snapshot {
    /// Says what is wrong although nothing else does. Everything else is filled in by then.
    pub(super) fn judge(&mut self, now: Timestamp) {
        let slowed = self
            .calls
            .as_ref()
            .is_some_and(|calls| matches!(calls.pace, Pace::Spread { .. } | Pace::UsedUp { .. }));
        if self.gate.is_some() || slowed {
            return;
        }
        let closed = |spreadsheet: &str| {
            let lane = |lane: &&LaneStatus| lane.spreadsheet == spreadsheet;
            let lane = self.lanes.iter().find(lane);
            // One that is no longer configured sends nothing either.
            lane.is_none_or(|lane| lane.gate.is_some())
        };
        let mut late = self.waiting.iter().filter(|job| {
            // A due time explains the wait before the first call, which may be under way, and not what failed
            // again and again.
            let due = job.due.filter(|_| job.attempts <= 1);
            let since = job.since.max(due.unwrap_or_default());
            now.since(since) > LATE && !closed(&job.spreadsheet)
        });
        let Some(first) = late.next() else { return };
        let others = match late.count() {
            0 => String::new(),
            many => format!(", and {many} more"),
        };
        self.degraded = Some(format!(
            "{}: {} waits for {} since {} although nothing is closed{others}; the log has the reason, or \
             pictures come faster than they are sent",
            first.mapping, first.slot, first.file, first.since
        ));
    }
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
        waiting_since: None,
        parked: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_651_200_000);

    fn minutes_ago(minutes: u64) -> Timestamp {
        Timestamp(NOW.0 - minutes * 60_000)
    }

    fn closed() -> Closed {
        Closed {
            reason: "no permission".into(),
            since: NOW,
            until: NOW,
            passing: false,
            failed: 0,
        }
    }

    /// A snapshot with one job that has waited so long and is due since then.
    fn snapshot(minutes: u64) -> Snapshot {
        let since = minutes_ago(minutes);
        Snapshot {
            running: None,
            degraded: None,
            totals: Totals::default(),
            mappings: Vec::new(),
            lanes: vec![LaneStatus {
                spreadsheet: "Doc".into(),
                state: LaneState::Idle,
                gate: None,
            }],
            gate: None,
            calls: None,
            waiting: vec![WaitingJob {
                mapping: "lobby".into(),
                file: "a.png".into(),
                slot: "B2".into(),
                spreadsheet: "Doc".into(),
                wanted: "9f2d9637".into(),
                held: None,
                since,
                due: Some(since),
                attempts: 0,
            }],
            parked: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn degraded(change: impl FnOnce(&mut Snapshot)) -> Option<String> {
        let mut snapshot = snapshot(16);
        change(&mut snapshot);
        snapshot.judge(NOW);
        snapshot.degraded
    }

    #[test]
    fn a_cell_that_waits_too_long_is_named_unless_something_explains_it() {
        let named = degraded(|_| {}).unwrap();
        assert!(
            named.starts_with("lobby: B2 waits for a.png since"),
            "{named}"
        );
        assert!(degraded(|snapshot| snapshot.waiting[0].due = None).is_some());
        assert_eq!(degraded(|snapshot| snapshot.gate = Some(closed())), None);
        assert_eq!(
            degraded(|snapshot| snapshot.lanes[0].gate = Some(closed())),
            None
        );
        assert_eq!(degraded(|snapshot| snapshot.lanes.clear()), None);
        let not_yet = Some(minutes_ago(14));
        assert_eq!(degraded(|snapshot| snapshot.waiting[0].due = not_yet), None);
        let failed = |snapshot: &mut Snapshot| {
            (snapshot.waiting[0].due, snapshot.waiting[0].attempts) = (not_yet, 7);
        };
        assert!(degraded(failed).is_some());
        assert_eq!(degraded(|snapshot| *snapshot = self::snapshot(15)), None);
        let spread = |snapshot: &mut Snapshot| {
            snapshot.calls = Some(Calls {
                today: 0,
                this_month: 0,
                month: None,
                used: 0,
                budget: Some(1),
                until: None,
                pace: Pace::Spread { every_seconds: 9.0 },
                why: String::new(),
            });
        };
        assert_eq!(degraded(spread), None);
    }
}
