//! What can be seen of the stand-in: documents, counts, calls. Plain data; changes nothing by
//! itself.

use std::collections::{BTreeMap, VecDeque};

use serde::{Serialize, Serializer};

use super::endpoint::Endpoint;
use super::faults::Faults;
use super::grid::Documents;
use super::sheet::{ImageCell, Sheet};
use crate::image::ContentHash;

/// Finished calls that are remembered; the oldest are forgotten first, the counts stay.
pub const MAX_CALLS: usize = 1_000;
/// Bytes of a path that a record keeps.
const MAX_PATH: usize = 300;

/// Everything at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    /// Grows with every change of anything here.
    pub version: u64,
    /// What the page says beside an empty grid.
    pub hint: String,
    /// The documents by spreadsheet token.
    pub documents: Documents,
    /// Calls begun, by what they were.
    pub calls_by_endpoint: BTreeMap<Endpoint, u64>,
    /// Answers given, by code; 0 is success. Answers that are no JSON are not among them.
    pub answers_by_code: BTreeMap<i64, u64>,
    /// Calls that ended with a cut connection.
    pub cuts: u64,
    /// Calls whose caller went away before the answer.
    pub abandoned: u64,
    /// Write calls that came while another one was in flight for the same spreadsheet.
    pub overlaps: u64,
    /// The most calls that arrived within one second, token calls left out.
    pub most_in_a_second: usize,
    /// Access tokens made.
    pub tokens_made: u64,
    /// Faults that wait.
    pub faults: Faults,
    /// Calls that have begun and not ended, oldest first.
    #[serde(serialize_with = "records")]
    pub in_flight: BTreeMap<u64, CallRecord>,
    /// The last 1,000 calls that ended, in the order they ended.
    pub calls: VecDeque<CallRecord>,
}

fn records<S: Serializer>(
    calls: &BTreeMap<u64, CallRecord>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(calls.values())
}

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct CallRecord {
    /// Counts the calls from 1.
    pub id: u64,
    /// What it was.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: String,
    /// The path with its query, cut after 300 bytes.
    pub path: String,
    /// The spreadsheet it named.
    pub spreadsheet: Option<String>,
    /// The range it named, once its body was read.
    pub range: Option<String>,
    /// The answer's header `x-tt-logid`.
    pub log_id: String,
    /// Bytes of its body that were read.
    pub body_bytes: u64,
    /// Whether a fault took it.
    pub fault: bool,
    /// Whether it is blocked by a hold at this moment.
    pub held: bool,
    /// How it ended; `None` while in flight.
    pub outcome: Option<Outcome>,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// The answer's code, if it was JSON.
    pub code: Option<i64>,
    /// The revision that it made or read.
    pub revision: Option<u64>,
    /// The picture that it put into its cell, whatever its caller was told; in JSON all 64 hex digits.
    #[serde(rename = "blake3", serialize_with = "hex")]
    pub wrote: Option<ContentHash>,
    /// When its head had come, in milliseconds since the start.
    pub started_ms: u64,
    /// When it ended, in milliseconds since the start.
    pub ended_ms: Option<u64>,
}

#[expect(clippy::ref_option, reason = "the form that serde asks for")]
fn hex<S: Serializer>(hash: &Option<ContentHash>, serializer: S) -> Result<S::Ok, S::Error> {
    hash.map(|hash| hash.to_hex()).serialize(serializer)
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With an answer, right or wrong.
    Answered,
    /// With a connection cut by a fault.
    Cut,
    /// The caller went away first.
    Abandoned,
}

impl State {
    /// The sheet of a document.
    pub fn sheet(&self, spreadsheet: &str, sheet: &str) -> Option<&Sheet> {
        self.documents.get(spreadsheet)?.sheet(sheet)
    }

    /// The picture in a cell, named as `B2`.
    pub fn image(&self, spreadsheet: &str, sheet: &str, cell: &str) -> Option<&ImageCell> {
        self.sheet(spreadsheet, sheet)?.image(cell)
    }

    /// How many calls of one kind have begun.
    pub fn calls(&self, endpoint: Endpoint) -> u64 {
        self.calls_by_endpoint
            .get(&endpoint)
            .copied()
            .unwrap_or_default()
    }

    /// How many answers carried this code; 0 is success.
    pub fn answers(&self, code: i64) -> u64 {
        self.answers_by_code.get(&code).copied().unwrap_or_default()
    }

    /// How many calls a hold blocks at this moment.
    pub fn held(&self) -> usize {
        self.in_flight.values().filter(|call| call.held).count()
    }

    pub(super) fn begin(&mut self, mut call: CallRecord) {
        if call.path.len() > MAX_PATH {
            let end = (0..=MAX_PATH)
                .rev()
                .find(|at| call.path.is_char_boundary(*at));
            call.path.truncate(end.unwrap_or(0));
        }
        *self.calls_by_endpoint.entry(call.endpoint).or_default() += 1;
        self.in_flight.insert(call.id, call);
    }

    pub(super) fn end(&mut self, id: u64, end: impl FnOnce(&mut CallRecord)) {
        let Some(mut call) = self.in_flight.remove(&id) else {
            return;
        };
        call.held = false;
        end(&mut call);
        match call.outcome {
            Some(Outcome::Cut) => self.cuts += 1,
            Some(Outcome::Abandoned) => self.abandoned += 1,
            _ => {}
        }
        if let Some(code) = call.code {
            *self.answers_by_code.entry(code).or_default() += 1;
        }
        if self.calls.len() >= MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
}

/// A compact account for failed expectations: counts and cells, no records.
impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "calls {:?}", self.calls_by_endpoint)?;
        writeln!(f, "answers {:?}", self.answers_by_code)?;
        writeln!(
            f,
            "overlaps {}, cuts {}, abandoned {}, in flight {} of which held {}, faults {}",
            self.overlaps,
            self.cuts,
            self.abandoned,
            self.in_flight.len(),
            self.held(),
            self.faults.iter().count()
        )?;
        for document in self.documents.iter() {
            for sheet in &document.sheets {
                let cells: Vec<_> = sheet
                    .cells
                    .keys()
                    .take(20)
                    .map(ToString::to_string)
                    .collect();
                writeln!(
                    f,
                    "{} {} revision {}, {} cells: {}",
                    document.token,
                    sheet.id,
                    sheet.revision,
                    sheet.cells.len(),
                    cells.join(" ")
                )?;
            }
        }
        Ok(())
    }
}
