//! Judges every write that the sandbox saw, whenever the daemon may have been killed: no bytes that no
//! file had, no older version after a newer one, one cell for each slot, and nothing sent again whose
//! answer was recorded. After a kill also that the store claims nothing that the cells do not hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pixcell::image::ContentHash;
use pixcell::sandbox::{CallRecord, Cell, Endpoint, Outcome, State};
use pixcell::store;

use super::{DOC, Rig};

/// Which slot's which version has this content.
pub type Known = HashMap<ContentHash, (usize, u32)>;

/// What it has seen.
#[derive(Default)]
pub struct Judge {
    /// The calls of the last look, which are in the next one as well.
    seen: BTreeSet<u64>,
    /// What each cell got last: slot, version and call.
    cells: BTreeMap<(String, String), (usize, u32, u64)>,
    /// Each slot's cell.
    places: BTreeMap<usize, (String, String)>,
    /// Calls whose caller need not have recorded that they took effect.
    unsure: BTreeSet<u64>,
    /// Writes that took effect.
    pub writes: u64,
    /// Those of them that put into a cell what it held.
    pub repeats: u64,
}

/// What a kill met, as the store and the cells tell.
#[derive(Debug, Default)]
pub struct Met {
    /// Calls begun that had changed nothing.
    pub before_effect: u64,
    /// Calls whose picture was in its cell, and whose receipt was not recorded.
    pub before_receipt: u64,
}

impl Judge {
    /// Takes in what has ended since the last time.
    #[track_caller]
    pub fn look(&mut self, state: &State, known: &Known) {
        let calls = &state.calls;
        let unseen = calls.iter().filter(|call| !self.seen.contains(&call.id));
        let mut new: Vec<&CallRecord> = unseen.collect();
        assert!(
            self.seen.is_empty() || new.len() < calls.len(),
            "calls were forgotten before they were judged"
        );
        // One after the other for each document, so the order of their beginnings is that of their ends.
        new.sort_by_key(|call| call.id);
        for call in new {
            self.judge(call, known);
        }
        self.seen = calls.iter().map(|call| call.id).collect();
    }

    #[track_caller]
    fn judge(&mut self, call: &CallRecord, known: &Known) {
        let (Some(hash), Some(range)) = (call.wrote, &call.range) else {
            return;
        };
        let document = call.spreadsheet.clone().unwrap();
        let Some(&(slot, version)) = known.get(&hash) else {
            let sentinel = document == DOC && range.contains("!T");
            assert!(sentinel, "bytes that no file had: {call:?}");
            return;
        };
        self.writes += 1;
        if (call.outcome, call.code) != (Some(Outcome::Answered), Some(0)) {
            self.unsure.insert(call.id);
        }
        let cell = (document, range.clone());
        let place = self.places.entry(slot).or_insert_with(|| cell.clone());
        assert_eq!(*place, cell, "slot {slot} in a second cell: {call:?}");
        let before = self.cells.insert(cell, (slot, version, call.id));
        let Some((other, older, last)) = before else {
            return;
        };
        assert_eq!(other, slot, "two slots in one cell: {call:?}");
        assert!(
            older <= version,
            "version {version} after {older}: {call:?}"
        );
        if older == version {
            self.repeats += 1;
            assert!(
                self.unsure.contains(&last),
                "sent again, although the answer to call {last} was recorded: {call:?}"
            );
        }
    }

    /// The daemon was killed: the last call for each document may have been in flight, or its answer
    /// not yet recorded.
    #[track_caller]
    pub fn killed(&mut self, rig: &Rig) -> Met {
        let state = rig.state();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for call in state.calls.iter().chain(state.in_flight.values()) {
            if let (Endpoint::ValuesImage, Some(document)) = (call.endpoint, &call.spreadsheet) {
                let id = last.entry(document).or_default();
                *id = call.id.max(*id);
            }
        }
        self.unsure.extend(last.values());
        met(rig)
    }
}

/// Insists that the cells hold what the store that was left behind is sure of.
#[track_caller]
fn met(rig: &Rig) -> Met {
    let mut met = Met::default();
    // Killed before the first run had made its database: it claims nothing.
    let Ok((store, _copy)) = store::look(&rig.path("state")) else {
        return met;
    };
    let quiet = |state: &State| state.in_flight.is_empty();
    let state = rig.wait("the calls of the killed daemon have ended", quiet);
    let sheets = state.documents.iter().flat_map(|document| &document.sheets);
    let cells = sheets.flat_map(|sheet| sheet.cells.values());
    let images = cells.filter_map(|cell| match cell {
        Cell::Image(image) => Some(image.hash),
        Cell::Value { .. } => None,
    });
    let somewhere: BTreeSet<ContentHash> = images.collect();
    for entry in store.slots() {
        let (address, slot) = entry.unwrap();
        if let Some(intent) = slot.intent {
            let took_effect = somewhere.contains(&intent.hash);
            met.before_receipt += u64::from(took_effect);
            met.before_effect += u64::from(!took_effect);
        } else if let Some(ledger) = slot.ledger {
            let target = &ledger.target;
            let (token, sheet) = (target.spreadsheet.as_str(), target.sheet.as_str());
            let image = state.image(token, sheet, &target.cell.to_string());
            let holds = image.map(|image| image.hash);
            assert_eq!(
                holds,
                Some(ledger.hash),
                "what the store says of {address:?}"
            );
        }
    }
    met
}
