//! What a pass over everything would send, and why, without a call and without a change: the listing,
//! the look and the decision are those of the daemon, on copies of the slots' records.
//!
//! It runs on a thread that a dead file system can hold for ever. Such a thread is left behind, with nothing
//! that anybody else waits for, and the folder counts as one that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tokio::time::{Instant, sleep};

use crate::a1::Column;
use crate::blocking::off_runtime;
use crate::config::{ImageEncoding, MappingName, SheetRef, SpreadsheetRef};
use crate::feishu::encoded_length;
use crate::image::ContentHash;
use crate::intake::{Looked, Offer, Rest, Rival, Stand, decide, look, rival};
use crate::placement::{Placement, Route, Routes, Slot, SlotAddress};
use crate::store::{
    Arrival, FileKey, FileRecord, Fingerprint, JobState, Seen, SlotRecord, Store, StoreError,
    Timestamp, Verdict as Refusal,
};
use crate::watch::{Found, survey};

/// A file or a batch of a listing that takes longer hangs: longer than the largest picture takes over a poor
/// line, and no longer than a person waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK: Duration = Duration::from_secs(1);

/// What a pass would do with every file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of the configuration.
    pub mappings: Vec<MappingPlan>,
    /// Over all mappings.
    pub totals: PlanTotals,
}

/// One mapping's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingPlan {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// The document.
    pub spreadsheet: String,
    /// The sheet.
    pub sheet: String,
    /// What could not be listed, and why; its files are missing below.
    pub unlisted: Option<String>,
    /// In the order of their paths.
    pub files: Vec<PlannedFile>,
}

impl MappingPlan {
    /// Without files.
    fn of(route: &Route) -> Self {
        let mapping = &route.mapping;
        Self {
            name: mapping.name.to_string(),
            folder: mapping.folder.display().to_string(),
            spreadsheet: mapping.spreadsheet.to_string(),
            sheet: mapping.sheet.to_string(),
            unlisted: None,
            files: Vec::new(),
        }
    }
}

/// One file, or one folder that is ignored with all that lies in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// The path below the folder; a folder's ends in `/`.
    pub file: String,
    /// The rule that takes it, counted from 0; people are told a number from 1 on.
    pub rule: Option<usize>,
    /// The slot that the rule names.
    pub slot: Option<String>,
    /// The sheet's id and the cell, when the slot was written before.
    pub cell: Option<String>,
    /// Length in bytes.
    pub bytes: Option<u64>,
    /// What a pass would do with it.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

/// What a pass would do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Send it.
    Write,
    /// Nothing: its cell holds it.
    Same,
    /// Nothing: a newer file is for the same slot.
    Older,
    /// Nothing yet: it is not complete, not readable, or still being written.
    Waiting,
    /// Nothing before a person or a change releases it.
    Parked,
    /// Nothing: the API takes no such file, or its name gives no place.
    Rejected,
    /// Nothing: a pattern ignores it, or no rule takes it.
    Ignored,
}

/// Counts, and what a pass would cost when nothing fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTotals {
    /// Files by verdict.
    pub files: BTreeMap<Verdict, u64>,
    /// Calls that write a picture.
    pub writes: u64,
    /// Calls that ask for a document, its sheets and its rows.
    pub reads: u64,
    /// Calls for an access token.
    pub tokens: u64,
    /// Of the pictures to be sent.
    pub picture_bytes: u64,
    /// Of the bodies that carry them.
    pub body_bytes: u64,
}

impl PlanTotals {
    /// All calls.
    pub fn calls(&self) -> u64 {
        self.writes + self.reads + self.tokens
    }
}

/// Plans a pass. `store` is what is known; `None`: nothing is. Not asked are folders that are `stuck`, and those
/// that an earlier plan hangs in.
///
/// # Errors
/// When the store fails.
pub async fn plan(
    store: Option<Store>,
    routes: &Routes,
    encoding: ImageEncoding,
    stuck: &BTreeSet<MappingName>,
    silent: &Silent,
) -> Result<Plan, StoreError> {
    loop {
        let desk = Arc::new(Desk {
            store: Mutex::new(store.clone()),
            place: Mutex::default(),
        });
        let _back = Back(&desk);
        let left_out = silent.with(|names| names.union(stuck).cloned().collect());
        let (ours, routes, silent_too) = (Arc::clone(&desk), routes.clone(), silent.clone());
        let work = off_runtime(move || {
            let planned = survey_all(&ours, &routes, encoding, &left_out);
            // It answers again.
            if let Some(name) = ours.now().left {
                silent_too.with(|names| names.remove(&name));
            }
            planned
        });
        tokio::select! {
            planned = work => return planned,
            name = desk.hangs() => silent.with(|names| {
                names.insert(name);
            }),
        }
    }
}

/// Folders that threads of plans hang in, by the names of their mappings.
#[derive(Debug, Clone, Default)]
pub struct Silent(Arc<Mutex<BTreeSet<MappingName>>>);

impl Silent {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<MappingName>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a plan's thread works with and where it is, seen from outside.
struct Desk {
    /// Lent: a thread that hangs must not keep the store from being closed.
    store: Mutex<Option<Store>>,
    place: Mutex<Place>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    /// The folder that is asked; `None` when none is.
    folder: Option<MappingName>,
    steps: u64,
    /// The folder that the thread was left behind in.
    left: Option<MappingName>,
}

impl Desk {
    /// `None` when nothing is known, or nobody waits any longer.
    fn known<T>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.as_ref().map(ask).transpose()
    }

    fn at<T>(&self, change: impl FnOnce(&mut Place) -> T) -> T {
        change(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Place {
        self.at(|place| place.clone())
    }

    fn step(&self) {
        self.at(|place| place.steps += 1);
    }

    /// Takes the store back; `false` when it is in use just now, which is no folder's fault.
    fn take_back(&self) -> bool {
        match self.store.try_lock() {
            Ok(mut store) => *store = None,
            Err(TryLockError::Poisoned(store)) => *store.into_inner() = None,
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }

    /// Waits until a folder hangs, and leaves the thread behind in it.
    async fn hangs(&self) -> MappingName {
        let (mut before, mut still) = (0, Instant::now());
        loop {
            sleep(LOOK).await;
            let Place { folder, steps, .. } = self.now();
            if steps != before || folder.is_none() {
                (before, still) = (steps, Instant::now());
            }
            if still.elapsed() >= PATIENCE
                && let Some(name) = folder
                && self.take_back()
            {
                self.at(|place| place.left = Some(name.clone()));
                return name;
            }
        }
    }
}

/// Takes the store back when the plan is over, or nobody waits for it any longer.
struct Back<'a>(&'a Desk);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.take_back();
    }
}

fn survey_all(
    desk: &Desk,
    routes: &Routes,
    encoding: ImageEncoding,
    left_out: &BTreeSet<MappingName>,
) -> Result<Plan, StoreError> {
    let asked = routes.iter().map(|route| &route.mapping);
    let asked = asked.filter(|mapping| !left_out.contains(&mapping.name));
    let mut planning = Planning {
        desk,
        folders: asked
            .map(|mapping| (mapping.name.clone(), mapping.folder.clone()))
            .collect(),
        now: Timestamp::now(),
        slots: BTreeMap::new(),
    };
    let mut mappings = Vec::new();
    for route in routes.iter() {
        let name = &route.mapping.name;
        if left_out.contains(name) {
            let mut plan = MappingPlan::of(route);
            plan.unlisted = Some(format!(
                "{} does not answer; bring its server back, or unmount it",
                plan.folder
            ));
            mappings.push((plan, Vec::new()));
            continue;
        }
        desk.at(|place| {
            place.folder = Some(name.clone());
            place.steps += 1;
        });
        mappings.push(planning.survey(route)?);
        desk.at(|place| place.folder = None);
    }
    let mut reads = Reads::default();
    let mut totals = PlanTotals::default();
    let mut planned = Vec::new();
    for (mut mapping, files) in mappings {
        for file in files {
            let file = planning.judge(file, &mut reads)?;
            *totals.files.entry(file.verdict).or_default() += 1;
            if file.verdict == Verdict::Write {
                let bytes = file.bytes.unwrap_or(0);
                totals.writes += 1;
                totals.picture_bytes += bytes;
                totals.body_bytes += match encoding {
                    ImageEncoding::Base64 => encoded_length(bytes),
                    // Three digits and a comma for most bytes: measured at 3.57 over photographs.
                    ImageEncoding::Array => bytes.saturating_mul(357) / 100,
                };
            }
            mapping.files.push(file);
        }
        mapping.files.sort_by(|a, b| a.file.cmp(&b.file));
        planned.push(mapping);
    }
    totals.reads = reads.count();
    totals.tokens = u64::from(totals.calls() > 0);
    Ok(Plan {
        mappings: planned,
        totals,
    })
}

/// What is learnt while files are gone through.
struct Planning<'a> {
    desk: &'a Desk,
    /// Those that may be asked.
    folders: BTreeMap<MappingName, PathBuf>,
    now: Timestamp,
    /// Slots as a pass would leave them before it sends.
    slots: BTreeMap<SlotAddress, SlotRecord>,
}

/// A file before the newest of each slot is known.
struct Judged {
    key: FileKey,
    file: PlannedFile,
    /// The slot and the content, when it is a whole picture with a place.
    picture: Option<(SlotAddress, ContentHash)>,
}

impl Planning<'_> {
    fn survey(&mut self, route: &Route) -> Result<(MappingPlan, Vec<Judged>), StoreError> {
        let mapping = &route.mapping;
        let (mut listed, mut files) = (Vec::new(), Vec::new());
        let mut plan = MappingPlan::of(route);
        if let Err(error) = std::fs::read_dir(&mapping.folder) {
            plan.unlisted = Some(error.to_string());
            return Ok((plan, files));
        }
        let listing = survey(
            route,
            None,
            |batch| {
                listed.extend(batch);
                self.desk.step();
                true
            },
            |folder, pattern| {
                plan.files.push(PlannedFile {
                    file: format!("{folder}/"),
                    rule: None,
                    slot: None,
                    cell: None,
                    bytes: None,
                    verdict: Verdict::Ignored,
                    why: format!("by `{pattern}`"),
                });
            },
        );
        plan.unlisted = listing.and_then(|listing| listing.gaps.told());
        for found in listed {
            files.push(self.look(route, found)?);
            self.desk.step();
        }
        Ok((plan, files))
    }

    fn look(&mut self, route: &Route, found: Found) -> Result<Judged, StoreError> {
        let Found { path, fingerprint } = found;
        let mut judged = Judged {
            file: PlannedFile {
                file: path.to_string(),
                rule: None,
                slot: None,
                cell: None,
                bytes: Some(fingerprint.size),
                verdict: Verdict::Ignored,
                why: String::new(),
            },
            key: FileKey {
                mapping: route.mapping.name.clone(),
                path,
            },
            picture: None,
        };
        let file = &mut judged.file;
        let address = match route.rules.place(&judged.key.path) {
            Placement::Ignored { pattern } => {
                file.why = format!("by `{pattern}`");
                return Ok(judged);
            }
            Placement::NoRule => {
                file.why = "no rule takes it".into();
                return Ok(judged);
            }
            Placement::Unplaceable { rule, reason } => {
                file.rule = Some(rule);
                (file.verdict, file.why) = (Verdict::Rejected, reason);
                return Ok(judged);
            }
            Placement::Slot { rule, slot } => {
                file.rule = Some(rule);
                file.slot = Some(slot.slot.to_string());
                slot
            }
        };
        let known = self.desk.known(|store| store.file(&judged.key))?.flatten();
        let unchanged = known.as_ref().filter(|known| {
            known.fingerprint == fingerprint && known.slot.as_ref() == Some(&address)
        });
        self.slot(&address)?;
        match unchanged.map(|known| known.seen.clone()) {
            Some(Seen::Image { hash, .. }) => judged.picture = Some((address, hash)),
            Some(Seen::Refused { verdict, reason }) => {
                let verdict = match verdict {
                    Refusal::Rejected => Verdict::Rejected,
                    Refusal::Held => Verdict::Waiting,
                };
                (file.verdict, file.why) = (verdict, reason);
            }
            None => self.look_inside(route, &mut judged, (fingerprint, known), address)?,
        }
        Ok(judged)
    }

    /// What the daemon would find in a file that it does not know.
    fn look_inside(
        &mut self,
        route: &Route,
        judged: &mut Judged,
        (fingerprint, known): (Fingerprint, Option<FileRecord>),
        address: SlotAddress,
    ) -> Result<(), StoreError> {
        let mapping = &route.mapping;
        let settled = fingerprint.age() >= mapping.watch.settle;
        let rest = if settled {
            Rest::QuietAs(fingerprint)
        } else {
            Rest::Unknown
        };
        let file = &mut judged.file;
        let looked = look(&mapping.folder, &judged.key.path, mapping.max_bytes, rest);
        (file.verdict, file.why) = match looked {
            Looked::Image {
                hash,
                format,
                fingerprint,
            } => {
                let again = known
                    .as_ref()
                    .and_then(|known| known.arrival_again(hash, &address));
                let arrival = match again {
                    Some(arrival) => arrival.clone(),
                    None => self.arrival(&judged.key, &address, &fingerprint)?,
                };
                let offer = Offer {
                    // Distinct from all real ones; which, matters to no decision.
                    id: u64::MAX,
                    hash,
                    format,
                    fingerprint,
                    source: judged.key.clone(),
                    arrival,
                    now: self.now,
                    min_interval: Duration::ZERO,
                };
                decide(self.slot(&address)?, &offer);
                judged.picture = Some((address, hash));
                return Ok(());
            }
            Looked::Rejected { reason, .. } => (Verdict::Rejected, reason),
            Looked::Held { reason, .. } | Looked::Unreadable(reason) => (Verdict::Waiting, reason),
            Looked::Unsettled(_) => (
                Verdict::Waiting,
                "its end cannot be told; it is sent once it has not changed for `settle`".into(),
            ),
            Looked::Changed => (Verdict::Waiting, "it is being written".into()),
            Looked::Gone => (Verdict::Waiting, "it went away".into()),
            Looked::NoFile => (Verdict::Ignored, "it is no regular file".into()),
        };
        // A picture of it that still waits would not be sent.
        if let Some(slot) = self.slots.get_mut(&address) {
            slot.job.take_if(|job| job.source == judged.key);
        }
        Ok(())
    }

    /// When a file arrived that nobody saw arrive.
    fn arrival(
        &mut self,
        source: &FileKey,
        address: &SlotAddress,
        found: &Fingerprint,
    ) -> Result<Arrival, StoreError> {
        let (mtime, name) = (found.mtime, source.path.as_bytes());
        let slot = self.slot(address)?.clone();
        let rival = self
            .desk
            .known(|store| rival(store, &slot, source, found))?;
        let rival = rival.flatten().filter(|rival| self.is_there(rival));
        Ok(match rival {
            Some(rival) => rival.arrival.just_before(mtime, name),
            None => Arrival {
                // After all that any run has seen, and as one listing: the latest change is the newest, then the
                // greatest name.
                epoch: u64::MAX,
                tick: 0,
                mtime,
                name: name.to_vec(),
            },
        })
    }

    fn is_there(&self, rival: &Rival) -> bool {
        let name = &rival.source.mapping;
        let asked = self.folders.get(name);
        asked.is_some_and(|folder| {
            let before = self.desk.at(|place| place.folder.replace(name.clone()));
            let is_there = rival.stand(folder) == Stand::There;
            self.desk.at(|place| place.folder = before);
            is_there
        })
    }

    fn slot(&mut self, address: &SlotAddress) -> Result<&mut SlotRecord, StoreError> {
        if !self.slots.contains_key(address) {
            let known = self.desk.known(|store| store.slot(address))?;
            self.slots
                .insert(address.clone(), known.unwrap_or_default());
        }
        // Inserted above, so that this inserts nothing.
        Ok(self.slots.entry(address.clone()).or_default())
    }

    /// The verdict, now that the newest of each slot is known.
    fn judge(&mut self, judged: Judged, reads: &mut Reads) -> Result<PlannedFile, StoreError> {
        let Judged {
            key,
            mut file,
            picture,
        } = judged;
        let Some((address, hash)) = picture else {
            return Ok(file);
        };
        let slot = self.slot(&address)?;
        file.cell = slot.ledger.as_ref().map(|ledger| ledger.target.to_string());
        (file.verdict, file.why) = match &slot.job {
            Some(job) if job.source == key => match &job.state {
                JobState::Parked(parked) => (Verdict::Parked, parked.reason.clone()),
                JobState::Queued { .. } | JobState::Stale => {
                    let why = match (&slot.ledger, &slot.intent) {
                        (Some(ledger), Some(_)) if ledger.hash == hash => {
                            "again: whether the last call arrived is not known"
                        }
                        (Some(_), _) => "the cell holds another picture",
                        (None, _) => "the cell was not written yet",
                    };
                    reads.count_in(&address, slot.ledger.is_some());
                    (Verdict::Write, why.to_owned())
                }
            },
            Some(job) => (Verdict::Older, newer(&job.source)),
            None if slot.held() == Some(hash) => {
                let (at, revision) = slot
                    .ledger
                    .as_ref()
                    .map_or((Timestamp::default(), None), |ledger| {
                        (ledger.at, ledger.revision)
                    });
                let revision = revision.map_or("?".to_owned(), |number| number.to_string());
                (
                    Verdict::Same,
                    format!("written at {at}, revision {revision}"),
                )
            }
            None => match &slot.ledger {
                Some(ledger) => (Verdict::Older, newer(&ledger.source)),
                None => (
                    Verdict::Waiting,
                    "it is looked at again at the next comparison".into(),
                ),
            },
        };
        Ok(file)
    }
}

fn newer(source: &FileKey) -> String {
    format!("{} is newer and for the same slot", source.path)
}

/// The calls that must be made before pictures can be written.
#[derive(Default)]
struct Reads {
    documents: BTreeSet<SpreadsheetRef>,
    /// Each is confirmed by a read; the first of a column by that of the whole column.
    keyed: u64,
    /// Columns in which files are given rows, each read once.
    columns: BTreeSet<(SpreadsheetRef, SheetRef, Column)>,
}

impl Reads {
    fn count_in(&mut self, address: &SlotAddress, written_before: bool) {
        let SlotAddress {
            spreadsheet, sheet, ..
        } = address;
        self.documents.insert(spreadsheet.clone());
        match &address.slot {
            Slot::RowByKey { .. } => self.keyed += 1,
            Slot::RowOfFile { column, .. } if !written_before => {
                self.columns
                    .insert((spreadsheet.clone(), sheet.clone(), *column));
            }
            Slot::Cell(_) | Slot::RowOfFile { .. } => {}
        }
    }

    /// A document is asked for its sheets, and one in a wiki before that for its token.
    fn count(&self) -> u64 {
        let wikis = self
            .documents
            .iter()
            .filter(|document| matches!(document, SpreadsheetRef::Wiki(_)))
            .count();
        (self.documents.len() + wikis + self.columns.len()) as u64 + self.keyed
    }
}
