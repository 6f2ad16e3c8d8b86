//! Notices when mappings name one sheet in two ways, as by a wiki's address and by the document's own, or by
//! title and by id. Slots are told apart by their names, so neither mapping would see what the other puts
//! into a cell that both can fill. Only tells; calls and slots stay as they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{SheetId, SheetRef, SpreadsheetRef, SpreadsheetToken};
use crate::placement::{Route, Routes, overlaps};

/// A sheet as a configuration names it.
type Name = (SpreadsheetRef, SheetRef);

/// A sheet as the API knows it.
type Place = (SpreadsheetToken, SheetId);

/// The names of the sheets that were met. As many at most as there are mappings.
#[derive(Debug, Clone, Default)]
pub struct SheetNames(Arc<Mutex<HashMap<Place, Vec<Name>>>>);

impl SheetNames {
    /// Other names that this sheet was met by before; each pair of names is told once.
    pub(super) fn others(
        &self,
        token: &SpreadsheetToken,
        sheet: &SheetId,
        name: &Name,
    ) -> Vec<Name> {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = met.entry((token.clone(), sheet.clone())).or_default();
        if known.contains(name) {
            return Vec::new();
        }
        let others = known.clone();
        known.push(name.clone());
        others
    }
}

/// What to tell of two names of one sheet: a line for each place that mappings of both can fill, as far as
/// made-up paths tell.
pub(super) fn clashes(routes: &Routes, one: &Name, other: &Name) -> Vec<String> {
    let named = |name: &Name| {
        let ours = routes.iter().filter(|route| {
            (&route.mapping.spreadsheet, &route.mapping.sheet) == (&name.0, &name.1)
        });
        ours.cloned().collect::<Vec<Arc<Route>>>()
    };
    let (ones, others) = (named(one), named(other));
    let pairs = ones
        .iter()
        .flat_map(|one| others.iter().map(move |other| (one, other)));
    let told = pairs.flat_map(|(one, other)| {
        overlaps(&one.rules, &other.rules)
            .into_iter()
            .map(move |found| {
                format!(
                    "{}: {} and {} can fill the same place, for example with {} and {}, and name its sheet in two ways ({} of {}, {} of {}), so neither sees the other's pictures; name it the same way in both",
                    found.slot,
                    one.mapping.name,
                    other.mapping.name,
                    found.one.1,
                    found.other.1,
                    one.mapping.sheet,
                    one.mapping.spreadsheet,
                    other.mapping.sheet,
                    other.mapping.spreadsheet,
                )
            })
    });
    told.collect()
}
