//! The records: plain values with the rules that keep one slot's record true. Pure; knows no sled.
//!
//! A slot's record answers three questions: what the cell holds (`ledger`), whether a call whose
//! outcome is unknown may have changed it (`intent`), and what should go there next (`job`).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::a1::CellRef;
use crate::config::{MappingName, SheetId, SpreadsheetToken};
use crate::image::{ContentHash, Format};
use crate::placement::{RelPath, SlotAddress};

/// Milliseconds since 1970, as the machine's clock told them. For people and for due times; never
/// for ordering two versions of a picture.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// This much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long from `earlier` to this; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond the year 9999 the format has no digits left.
        let at = UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_000));
        humantime::format_rfc3339_seconds(at).fmt(f)
    }
}

/// Device, inode, size and times of a file: while it is unchanged, the file need not be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The device's number.
    pub device: u64,
    /// The file's number on it.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of content or attributes, nanoseconds since 1970.
    pub ctime: i64,
}

impl Fingerprint {
    /// No file's: a record that has it is looked at again.
    pub const UNKNOWN: Self = Self {
        device: 0,
        inode: 0,
        size: 0,
        mtime: 0,
        ctime: 0,
    };

    /// The fingerprint in a file's attributes.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The same, of what a system call says.
    pub fn of_stat(stat: &Stat) -> Self {
        // Below a thousand million, in a type that depends on the machine.
        #[allow(
            clippy::unnecessary_fallible_conversions,
            reason = "on some machines it is"
        )]
        let [mtime, ctime] =
            [stat.st_mtime_nsec, stat.st_ctime_nsec].map(|part| i64::try_from(part).unwrap_or(0));
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            mtime: nanos(stat.st_mtime, mtime),
            ctime: nanos(stat.st_ctime, ctime),
        }
    }

    /// Time since the file's last change, as far as the clocks agree. Zero for one in the future: that is a
    /// clock that runs ahead, and says nothing.
    pub fn age(&self) -> Duration {
        let changed = u64::try_from(self.mtime.max(self.ctime)).unwrap_or(0);
        let changed = UNIX_EPOCH + Duration::from_nanos(changed);
        changed.elapsed().unwrap_or_default()
    }
}

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// When a version of a picture arrived, compared with others.
///
/// While the daemon runs the last to arrive is the newest, and `tick` alone decides. Files found by
/// one listing share its tick; among them the latest mtime is the newest, then the greatest name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arrival {
    /// Which run of the daemon; grows with every start.
    pub epoch: u64,
    /// Counts candidates within the run.
    pub tick: u64,
    /// For files found by a listing: nanoseconds since 1970. Otherwise 0.
    pub mtime: i64,
    /// For files found by a listing: the path. Otherwise empty.
    pub name: Vec<u8>,
}

impl Arrival {
    /// That of a file which was there before this one arrived, but nobody knows since when. Of several such the
    /// latest `mtime` is the newest, then the greatest `name`.
    #[must_use]
    pub fn just_before(&self, mtime: i64, name: &[u8]) -> Self {
        Self {
            // Below those of all times since 1970, and in their order.
            mtime: mtime
                .saturating_sub(i64::MAX)
                .min(self.mtime.saturating_sub(1)),
            name: name.to_vec(),
            ..*self
        }
    }
}

/// One file of one mapping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileKey {
    /// The mapping.
    pub mapping: MappingName,
    /// The file's path below the mapping's folder.
    pub path: RelPath,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.mapping, self.path)
    }
}

/// What was found when a file was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file as it was then.
    pub fingerprint: Fingerprint,
    /// The slot that its rule names, when there is one.
    pub slot: Option<SlotAddress>,
    /// The verdict.
    pub seen: Seen,
    /// When.
    pub at: Timestamp,
}

impl FileRecord {
    /// When the image that this tells of arrived, if it is the one with `hash` for `slot` and is only looked at
    /// again because the newer image of another file went.
    pub fn arrival_again(&self, hash: ContentHash, slot: &SlotAddress) -> Option<&Arrival> {
        let again = self.fingerprint == Fingerprint::UNKNOWN && self.slot.as_ref() == Some(slot);
        match &self.seen {
            Seen::Image {
                hash: seen,
                arrival,
                ..
            } if again && *seen == hash => arrival.as_ref(),
            _ => None,
        }
    }
}

impl FileRecord {
    /// The slot that it is looked at again for, since the newer image of another file went.
    pub fn asked_for(&self) -> Option<&SlotAddress> {
        let Seen::Image { hash, .. } = self.seen else {
            return None;
        };
        let slot = self.slot.as_ref()?;
        self.arrival_again(hash, slot).map(|_| slot)
    }
}

/// The verdict on a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredSeen", into = "StoredSeen")]
pub enum Seen {
    /// A whole image.
    Image {
        /// Of its bytes.
        hash: ContentHash,
        /// Its format.
        format: Format,
        /// When it arrived, unless a schema before 3 recorded it or what is recorded is in doubt.
        arrival: Option<Arrival>,
    },
    /// Will not be sent: why, and for which content, so that it is told once.
    Refused {
        /// Rejected for good, or held until it changes.
        verdict: Verdict,
        /// For people.
        reason: String,
    },
}

/// A verdict in the form it has on disk.
#[derive(Serialize, Deserialize)]
enum StoredSeen {
    /// All that schema 2 knew of an image.
    Image {
        hash: ContentHash,
        format: Format,
    },
    Refused {
        verdict: Verdict,
        reason: String,
    },
    /// Since schema 3.
    Arrived {
        hash: ContentHash,
        format: Format,
        arrival: Arrival,
    },
}

impl From<StoredSeen> for Seen {
    fn from(stored: StoredSeen) -> Self {
        match stored {
            StoredSeen::Image { hash, format } => Self::Image {
                hash,
                format,
                arrival: None,
            },
            StoredSeen::Refused { verdict, reason } => Self::Refused { verdict, reason },
            StoredSeen::Arrived {
                hash,
                format,
                arrival,
            } => Self::Image {
                hash,
                format,
                arrival: Some(arrival),
            },
        }
    }
}

impl From<Seen> for StoredSeen {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Image {
                hash,
                format,
                arrival: None,
            } => Self::Image { hash, format },
            Seen::Image {
                hash,
                format,
                arrival: Some(arrival),
            } => Self::Arrived {
                hash,
                format,
                arrival,
            },
            Seen::Refused { verdict, reason } => Self::Refused { verdict, reason },
        }
    }
}

/// Why a file is not sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No image that the API takes, too large, or no place for it.
    Rejected,
    /// Not complete yet, or not readable: looked at again on every change.
    Held,
}

/// The place a slot was resolved to when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The document.
    pub spreadsheet: SpreadsheetToken,
    /// The sheet's id.
    pub sheet: SheetId,
    /// The cell.
    pub cell: CellRef,
}

impl fmt::Display for Target {
    /// As the API writes a single cell, without the doubled reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.sheet, self.cell)
    }
}

/// What a cell is known to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Of the bytes in the cell.
    pub hash: ContentHash,
    /// Where it was written.
    pub target: Target,
    /// The sheet's version after the write, when the answer told it.
    pub revision: Option<u64>,
    /// When the answer came.
    pub at: Timestamp,
    /// The file that was sent.
    pub source: FileKey,
    /// When that version arrived.
    pub arrival: Arrival,
}

/// A call was begun whose receipt is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Of the bytes that may have reached the cell.
    pub hash: ContentHash,
    /// When the call began.
    pub at: Timestamp,
    /// An earlier call's outcome is unknown as well, so a clean failure of this one settles nothing.
    pub uncertain: bool,
}

/// A slot whose newest image differs from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Distinct for every version of every slot; a change that names another id comes too late.
    pub id: u64,
    /// Of the file's bytes.
    pub hash: ContentHash,
    /// The file's format.
    pub format: Format,
    /// The file as it was when it was hashed.
    pub fingerprint: Fingerprint,
    /// The file.
    pub source: FileKey,
    /// When this version arrived.
    pub arrival: Arrival,
    /// Since when the slot waits.
    pub since: Timestamp,
    /// Calls made for this version.
    pub attempts: u32,
    /// What it waits for.
    pub state: JobState,
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Its turn, not before this time.
    Queued {
        /// Earliest time of the next call.
        due: Timestamp,
    },
    /// A fresh look at its file, which changed after it was hashed.
    Stale,
    /// A person or a change.
    Parked(Parked),
}

/// Why a job is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// What happened and what to do, for people.
    pub reason: String,
    /// The API's code, when it spoke.
    pub code: Option<i64>,
    /// The API's log id, when it spoke.
    pub log_id: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// What releases it.
    pub until: Release,
}

/// What releases a parked job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// Other content for the slot: the image itself was refused.
    NewImage,
    /// A person or a changed configuration: the place was refused, whatever the content.
    Person,
    /// The key column, once it says the key of the slot's row.
    Row,
}

/// All that is known of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SlotRecord {
    /// What the cell holds.
    pub ledger: Option<Ledger>,
    /// A call whose outcome is not known.
    pub intent: Option<Intent>,
    /// What should go there next.
    pub job: Option<Job>,
    /// More than one file has been for this slot: when the job of one goes, another may be due.
    pub contested: bool,
}

/// One version of a slot's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// When it arrived.
    pub arrival: &'a Arrival,
    /// Its file.
    pub source: &'a FileKey,
    /// Of its bytes.
    pub hash: ContentHash,
}

impl SlotRecord {
    /// The hash of what the cell surely holds.
    pub fn held(&self) -> Option<ContentHash> {
        self.ledger
            .as_ref()
            .filter(|_| self.intent.is_none())
            .map(|ledger| ledger.hash)
    }

    /// What the ledger says may not be so: its picture is sent once more when it is met again.
    pub fn doubt(&mut self, now: Timestamp) {
        if let Some(ledger) = &self.ledger {
            self.intent = Some(Intent {
                hash: ledger.hash,
                at: now,
                uncertain: true,
            });
        }
    }

    /// The newest version known for this slot.
    pub fn newest(&self) -> Option<Version<'_>> {
        let job = self.job.as_ref().map(|job| Version {
            arrival: &job.arrival,
            source: &job.source,
            hash: job.hash,
        });
        let ledger = self.ledger.as_ref().map(|ledger| Version {
            arrival: &ledger.arrival,
            source: &ledger.source,
            hash: ledger.hash,
        });
        job.into_iter()
            .chain(ledger)
            .max_by_key(|version| version.arrival)
    }

    /// The job, when it still is the one with this id.
    pub fn job_with(&mut self, id: u64) -> Option<&mut Job> {
        self.job.as_mut().filter(|job| job.id == id)
    }

    /// A call for `job` is about to begin.
    pub fn begin(&mut self, job: &Job, now: Timestamp) -> bool {
        let uncertain = self.intent.is_some();
        let Some(current) = self.job_with(job.id) else {
            return false;
        };
        current.attempts = current.attempts.saturating_add(1);
        self.intent = Some(Intent {
            hash: job.hash,
            at: now,
            uncertain,
        });
        true
    }

    /// The call for `job` succeeded: the cell holds its bytes.
    pub fn written(&mut self, job: &Job, target: Target, revision: Option<u64>, now: Timestamp) {
        let began = self.intent.take().map(|intent| intent.at);
        // What came while the call was under way has waited no longer than that.
        if let (Some(next), Some(began)) = (&mut self.job, began)
            && next.id != job.id
        {
            next.since = next.since.max(began);
        }
        self.ledger = Some(Ledger {
            hash: job.hash,
            target,
            revision,
            at: now,
            source: job.source.clone(),
            arrival: job.arrival.clone(),
        });
        // The file of a call under way can go, and an older one of the slot be queued meanwhile.
        self.job.take_if(|next| next.arrival < job.arrival);
        self.drop_job_if_held();
    }

    /// The call that was begun last surely changed nothing. What an earlier call may have done stays
    /// unknown.
    pub fn not_written(&mut self) {
        self.intent.take_if(|intent| !intent.uncertain);
        self.drop_job_if_held();
    }

    /// The call for `job` that was begun was not made.
    pub fn not_made(&mut self, job: &Job) {
        if let Some(current) = self.job_with(job.id) {
            current.attempts = current.attempts.saturating_sub(1);
        }
        self.not_written();
    }

    /// A job that wants what the cell holds is done; the ledger takes over its place in time.
    fn drop_job_if_held(&mut self) {
        let held = self.held();
        if let Some(done) = self.job.take_if(|job| Some(job.hash) == held)
            && let Some(ledger) = &mut self.ledger
            && done.arrival > ledger.arrival
        {
            ledger.arrival = done.arrival;
            ledger.source = done.source;
        }
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The slot.
    pub slot: SlotAddress,
    /// The file.
    pub source: FileKey,
    /// The content.
    pub hash: ContentHash,
    /// What happened.
    pub done: Done,
}

/// What happened to a version of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// It is in its cell.
    Written {
        /// The cell.
        target: Target,
        /// The sheet's version, when the answer told it.
        revision: Option<u64>,
        /// Calls it took.
        attempts: u32,
    },
    /// It was parked, with the reason.
    Parked(String),
    /// Its file went away before it was sent.
    SourceGone,
    /// The configuration no longer sent its file there.
    Withdrawn,
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{arrival, job, target};
    use super::*;

    fn slot_with(job: Job) -> SlotRecord {
        SlotRecord {
            job: Some(job),
            ..SlotRecord::default()
        }
    }

    #[test]
    fn a_receipt_moves_the_job_into_the_ledger() {
        let mut slot = slot_with(job(1, "a"));
        assert!(slot.begin(&job(1, "a"), Timestamp(5)));
        assert_eq!(slot.held(), None);
        slot.written(&job(1, "a"), target(), Some(80), Timestamp(6));
        assert_eq!(slot.held(), Some(job(1, "a").hash));
        assert_eq!((slot.job, slot.intent), (None, None));
    }

    #[test]
    fn a_newer_job_outlives_the_receipt_of_an_older_one() {
        let mut slot = slot_with(job(1, "a"));
        slot.begin(&job(1, "a"), Timestamp(5));
        slot.job = Some(job(2, "b"));
        slot.written(&job(1, "a"), target(), None, Timestamp(6));
        let next = slot.job.map(|job| (job.id, job.hash));
        assert_eq!(next, Some((2, job(2, "b").hash)));
    }

    #[test]
    fn a_newer_job_has_waited_no_longer_than_the_call_before_it() {
        let waiting_since = |since| Job {
            since: Timestamp(since),
            ..job(2, "b")
        };
        for (since, after) in [(1, 5), (7, 7)] {
            let mut slot = slot_with(job(1, "a"));
            slot.begin(&job(1, "a"), Timestamp(5));
            slot.job = Some(waiting_since(since));
            slot.written(&job(1, "a"), target(), None, Timestamp(9));
            assert_eq!(slot.job, Some(waiting_since(after)));
        }
    }

    #[test]
    fn a_newer_job_with_the_content_just_written_is_done() {
        let mut slot = slot_with(job(1, "a"));
        slot.begin(&job(1, "a"), Timestamp(5));
        slot.job = Some(job(2, "a"));
        slot.written(&job(1, "a"), target(), None, Timestamp(6));
        assert_eq!(slot.job, None);
        assert_eq!(slot.newest().unwrap().arrival, &arrival(2));
    }

    #[test]
    fn a_clean_failure_keeps_the_ledger_but_not_after_an_unknown_outcome() {
        let mut slot = slot_with(job(1, "a"));
        slot.begin(&job(1, "a"), Timestamp(1));
        slot.written(&job(1, "a"), target(), None, Timestamp(2));
        slot.job = Some(job(2, "b"));
        slot.begin(&job(2, "b"), Timestamp(3));
        slot.not_written();
        assert_eq!(slot.held(), Some(job(1, "a").hash));

        slot.begin(&job(2, "b"), Timestamp(4));
        // The outcome stays unknown; the next call fails cleanly.
        slot.begin(&job(2, "b"), Timestamp(5));
        slot.not_written();
        assert_eq!(slot.held(), None);
    }

    #[test]
    fn a_call_for_a_replaced_job_does_not_begin() {
        let mut slot = slot_with(job(2, "b"));
        assert!(!slot.begin(&job(1, "a"), Timestamp(1)));
        assert_eq!(slot.intent, None);
    }

    #[test]
    fn a_receipt_ends_what_arrived_before_it() {
        let mut slot = slot_with(job(2, "b"));
        slot.begin(&job(2, "b"), Timestamp(5));
        // Its file went, and of those that are left this is the newest.
        slot.job = Some(Job {
            arrival: arrival(1),
            ..job(3, "a")
        });
        slot.written(&job(2, "b"), target(), None, Timestamp(6));
        assert_eq!(slot.job, None);
        assert_eq!(slot.newest().unwrap().arrival, &arrival(2));
    }

    #[test]
    fn an_image_of_schema_2_is_read_as_one_whose_arrival_is_not_known() {
        #[derive(Serialize)]
        enum Seen2 {
            Image { hash: ContentHash, format: Format },
            Refused { verdict: Verdict, reason: String },
        }
        let (hash, format) = (job(1, "a").hash, Format::Png);
        let (verdict, reason) = (Verdict::Held, "half".to_owned());
        let refused = Seen::Refused {
            verdict,
            reason: reason.clone(),
        };
        let image = |arrival| Seen::Image {
            hash,
            format,
            arrival,
        };
        let read = |bytes: Vec<u8>| postcard::from_bytes::<Seen>(&bytes).unwrap();
        let old = |seen: &Seen2| postcard::to_allocvec(seen).unwrap();
        let new = |seen: &Seen| postcard::to_allocvec(seen).unwrap();
        assert_eq!(read(old(&Seen2::Image { hash, format })), image(None));
        assert_eq!(read(old(&Seen2::Refused { verdict, reason })), refused);
        for seen in [image(None), image(Some(arrival(7))), refused] {
            assert_eq!(read(new(&seen)), seen);
        }
    }

    #[test]
    fn what_was_there_before_an_arrival_is_in_order_before_it() {
        for mtime in [0, 5, i64::MIN, i64::MAX] {
            let arrival = Arrival {
                mtime,
                ..arrival(3)
            };
            let before = |mtime, name: &str| arrival.just_before(mtime, name.as_bytes());
            if mtime > i64::MIN {
                assert!(before(9, "a") < arrival, "{mtime}");
            }
            assert!(before(9, "a") > super::super::fixture::arrival(2));
        }
        let before = |mtime, name: &str| arrival(3).just_before(mtime, name.as_bytes());
        let ordered = [before(8, "z"), before(9, "a"), before(9, "b"), arrival(3)];
        assert!(ordered.is_sorted());
    }

    #[test]
    fn arrivals_order_by_run_then_tick_then_time_then_name() {
        let found = |mtime, name: &str| Arrival {
            mtime,
            name: name.into(),
            ..arrival(3)
        };
        let later_run = Arrival {
            epoch: 2,
            ..arrival(0)
        };
        let ordered = [
            arrival(1),
            arrival(2),
            found(5, "a"),
            found(6, "a"),
            found(6, "b"),
            arrival(4),
            later_run,
        ];
        assert!(ordered.is_sorted());
    }
}
