//! What the server shows, as one value: the status, the cells that were written last, and what waits.
//! Read from the store at most a twentieth of the time, whoever asks how often; between two readings
//! everybody gets the same bytes.
//!
//! Bounded: [`CELLS_MOST`] cells a mapping and [`WAITING_MOST`] jobs in all. Tokens of documents are
//! cut to their last four characters wherever they stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::super::status::Snapshot;
use super::Sources;
use super::picture::{self, Shown};
use crate::config::{MappingName, SpreadsheetRef};
use crate::image::ContentHash;
use crate::placement::Routes;
use crate::store::{FileKey, JobState, Ledger, Seen, Store, StoreError, Timestamp};
use crate::watch::FolderState;

/// Cells shown of one mapping: those written last.
const CELLS_MOST: usize = 100;
/// Waiting jobs shown: those that wait longest.
const WAITING_MOST: usize = 200;
/// A reading is good for this long at least, and for so many times as long as it took.
const FRESH: Duration = Duration::from_millis(250);
const REST: u32 = 20;

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct Contents<'a> {
    status: &'a Snapshot,
    /// The spreadsheet that each configured mapping feeds, as the lanes are named.
    feeds: BTreeMap<String, String>,
    /// By mapping and then by place.
    cells: Vec<Held>,
    /// How many more there are than are shown.
    more_cells: u64,
    waiting: Vec<Waiting>,
    more_waiting: u64,
}

/// A cell and what it holds.
#[derive(Debug, Serialize)]
struct Held {
    mapping: String,
    slot: String,
    sheet: String,
    cell: String,
    file: String,
    revision: Option<u64>,
    at: Timestamp,
    hash: String,
    format: Option<&'static str>,
    picture: Shown,
}

/// A job that waits for its turn.
#[derive(Debug, Serialize)]
struct Waiting {
    mapping: String,
    file: String,
    slot: String,
    since: Timestamp,
    /// Not before this; `None` while its file is looked at again.
    due: Option<Timestamp>,
    attempts: u32,
}

/// One reading.
#[derive(Debug)]
pub(super) struct View {
    /// Everything, as JSON.
    pub json: Bytes,
    /// The status alone, as JSON.
    pub status: Bytes,
    /// Names this content.
    pub version: String,
    /// The same, for metrics.
    pub snapshot: Snapshot,
    /// Files that hold what a listed cell holds.
    pub pictures: HashMap<ContentHash, FileKey>,
}

impl View {
    /// Whether a mapping's folder is waited for.
    pub(super) fn is_away(&self, mapping: &MappingName) -> bool {
        let mut mappings = self.snapshot.mappings.iter();
        let found = mappings.find(|found| found.name == mapping.as_str());
        let state = found.and_then(|found| found.state.as_ref());
        matches!(
            state,
            Some(FolderState::Missing { .. } | FolderState::Stuck { .. })
        )
    }
}

/// Readings, one at a time.
pub(super) struct Views {
    pub sources: Sources,
    last: Mutex<Option<(Arc<View>, Instant)>>,
}

impl Views {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources,
            last: Mutex::default(),
        }
    }

    /// The view, a moment old at most. `None` when the store does not answer, which is logged.
    pub(super) async fn get(&self) -> Option<Arc<View>> {
        // Held while reading: whoever else asks meanwhile gets that reading.
        let mut last = self.last.lock().await;
        if let Some((view, good_until)) = &*last
            && Instant::now() < *good_until
        {
            return Some(Arc::clone(view));
        }
        let begun = Instant::now();
        let snapshot = (self.sources.ask)().await?;
        let routes = self.sources.routes.clone();
        let read = self
            .sources
            .store
            .call(move |store| read(store, &routes, snapshot))
            .await;
        let view = read
            .inspect_err(|error| warn!("status server: {error}"))
            .ok()?;
        let (view, now) = (Arc::new(view), Instant::now());
        let rest = FRESH.max((now - begun) * REST);
        *last = Some((Arc::clone(&view), now + rest));
        Some(view)
    }
}

/// Cells by when they were written, so that the oldest goes first when there are too many.
type Newest = BTreeMap<(Timestamp, String), Ledger>;

fn read(store: &Store, routes: &Routes, snapshot: Snapshot) -> Result<View, StoreError> {
    let mut newest: BTreeMap<String, Newest> = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    let (mut more_cells, mut more_waiting) = (0, 0);
    let mut tokens = BTreeSet::new();
    for entry in store.slots() {
        let (address, record) = entry?;
        let slot = address.slot.to_string();
        if let Some(job) = record.job {
            let due = match job.state {
                JobState::Queued { due } => Some(Some(due)),
                JobState::Stale => Some(None),
                JobState::Parked(_) => None,
            };
            if let Some(due) = due {
                let shown = Waiting {
                    mapping: job.source.mapping.to_string(),
                    file: job.source.path.to_string(),
                    slot: slot.clone(),
                    since: job.since,
                    due,
                    attempts: job.attempts,
                };
                waiting.insert((job.since, job.id), shown);
                if waiting.len() > WAITING_MOST {
                    waiting.pop_last();
                    more_waiting += 1;
                }
            }
        }
        if let Some(ledger) = record.ledger {
            if !tokens.contains(ledger.target.spreadsheet.as_str()) {
                tokens.insert(ledger.target.spreadsheet.as_str().to_owned());
            }
            let mapping = ledger.source.mapping.to_string();
            let newest = newest.entry(mapping).or_default();
            newest.insert((ledger.at, slot), ledger);
            if newest.len() > CELLS_MOST {
                newest.pop_first();
                more_cells += 1;
            }
        }
    }
    let mut feeds = BTreeMap::new();
    for route in routes.iter() {
        let spreadsheet = route.mapping.spreadsheet.to_string();
        feeds.insert(route.mapping.name.to_string(), spreadsheet);
        tokens.insert(match &route.mapping.spreadsheet {
            SpreadsheetRef::Token(token) => token.as_str().to_owned(),
            SpreadsheetRef::Wiki(token) => token.as_str().to_owned(),
        });
    }
    let (mut cells, mut pictures) = (Vec::new(), HashMap::new());
    for (mapping, newest) in newest {
        let mut ledgers: Vec<_> = newest.into_iter().collect();
        ledgers.sort_by_key(|(_, ledger)| {
            let target = &ledger.target;
            (target.sheet.to_string(), target.cell)
        });
        for ((at, slot), ledger) in ledgers {
            let (format, shown) = match store
                .file(&ledger.source)?
                .map(|file| (file.seen, file.fingerprint))
            {
                Some((Seen::Image { hash, format, .. }, fingerprint)) if hash == ledger.hash => (
                    Some(format.name()),
                    picture::shown(format, fingerprint.size),
                ),
                _ => (None, Shown::Changed),
            };
            if let Shown::Here = shown {
                pictures.insert(ledger.hash, ledger.source.clone());
            }
            cells.push(Held {
                mapping: mapping.clone(),
                slot,
                sheet: ledger.target.sheet.to_string(),
                cell: ledger.target.cell.to_string(),
                file: ledger.source.path.to_string(),
                revision: ledger.revision,
                at,
                hash: ledger.hash.to_hex(),
                format,
                picture: shown,
            });
        }
    }
    let contents = Contents {
        status: &snapshot,
        feeds,
        cells,
        more_cells,
        waiting: waiting.into_values().collect(),
        more_waiting,
    };
    let json = cut(to_json(&contents), &tokens);
    let status = cut(to_json(&snapshot), &tokens);
    let version = ContentHash::of(json.as_bytes()).to_hex()[..16].to_owned();
    Ok(View {
        json: json.into(),
        status: status.into(),
        version,
        snapshot,
        pictures,
    })
}

/// These types have string keys only and no value that JSON lacks, so this does not fail.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Cuts every token to its last four characters. Tokens are letters and digits, so they stand in JSON as
/// they are.
fn cut(mut json: String, tokens: &BTreeSet<String>) -> String {
    for token in tokens {
        let end = token.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        if end > 0 {
            json = json.replace(token.as_str(), &format!("…{}", &token[end..]));
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_token_only_its_last_four_characters_are_left() {
        let tokens = ["Iow7sNNEphp3WbtnbCscPqabcef", "wikcnKQ1k3p"].map(String::from);
        let json = r#"{"a":"Iow7sNNEphp3WbtnbCscPqabcef","b":"the page wikcnKQ1k3p is gone"}"#;
        assert_eq!(
            cut(json.into(), &tokens.into()),
            r#"{"a":"…bcef","b":"the page …1k3p is gone"}"#
        );
    }
}
