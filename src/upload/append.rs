//! Rows for the files of `append`: each new file gets the next row below all that the column holds or
//! was given, and keeps it. Makes at most one read for all files that wait together.

use std::time::Duration;

use super::resolve::{Document, NoTarget, holds_column};
use crate::a1::{CellRef, Column, Row};
use crate::config::SpreadsheetToken;
use crate::feishu::{CellValue, Client, Sheet};
use crate::placement::{Slot, SlotAddress};
use crate::store::{RowColumn, Store, StoreError, Waiting};

/// Files that are given rows together, in the order of their capture. More are given theirs in turn.
const TOGETHER_MOST: usize = 1_000;

/// Files that arrive within this time of each other are given rows in the order of their capture.
const TOGETHER: Duration = Duration::from_millis(500);

/// A file that needs a row, and what is asked for it.
pub struct Appending<'a> {
    /// The API.
    pub client: &'a Client,
    /// The store.
    pub store: &'a Store,
    /// The document.
    pub token: &'a SpreadsheetToken,
    /// The slot.
    pub address: &'a SlotAddress,
    /// Its column.
    pub column: Column,
    /// The first row that may be given.
    pub first_row: Row,
}

impl Appending<'_> {
    /// The row that the file has or is given now; inside the grid, which grows for it.
    ///
    /// # Errors
    /// When the store fails, or the document has no place or is not reached.
    pub async fn row(&self, document: &mut Document) -> Result<Row, Failed> {
        let has_column = |sheet: &Sheet| holds_column(sheet, self.column);
        let sheet = document
            .sheet(self.client, self.token, &self.address.sheet, has_column)
            .await?;
        let place = RowColumn {
            spreadsheet: self.token.clone(),
            sheet: sheet.id.clone(),
            column: self.column,
        };
        let mut row = self.known(&place).await?;
        if row.is_none() {
            tokio::time::sleep(TOGETHER).await;
            self.give(document, &sheet, &place).await?;
            row = self.known(&place).await?;
        }
        let row = row.ok_or_else(|| full(&sheet))?;
        document
            .extend(self.client, self.token, &sheet.id, row)
            .await?;
        Ok(row)
    }

    async fn known(&self, place: &RowColumn) -> Result<Option<Row>, StoreError> {
        let (address, place) = (self.address.clone(), place.clone());
        self.store
            .call(move |store| store.row_of(&address, &place))
            .await
    }

    /// Gives rows to all files that wait for one in this column.
    async fn give(
        &self,
        document: &mut Document,
        sheet: &Sheet,
        place: &RowColumn,
    ) -> Result<(), Failed> {
        let last = {
            let place = place.clone();
            self.store
                .call(move |store| store.last_given(&place))
                .await?
        };
        let below = |row: Row| Row::new(row.number() + 1).unwrap_or(row);
        let start = last.map_or(self.first_row, |last| below(last).max(self.first_row));
        // What lies beyond the grid is free; the answer may end before the range does.
        document
            .extend(self.client, self.token, &sheet.id, start)
            .await?;
        let column = self
            .client
            .read_column(self.token, &sheet.id, self.column, start, None)
            .await
            .map_err(NoTarget::from)?;
        let used = column
            .iter()
            .rposition(|value| *value != CellValue::Empty)
            .map_or(0, |last| last + 1);
        let from = u32::try_from(used)
            .ok()
            .and_then(|used| Row::new(start.number().saturating_add(used)).ok())
            .ok_or_else(|| full(sheet))?;
        let (lane, rule) = (self.address.spreadsheet.clone(), self.address.clone());
        let (place, merges, column) = (place.clone(), sheet.clone(), self.column);
        let give = move |store: &Store| {
            let mut waiting = store.queue_of(&lane, TOGETHER_MOST)?;
            waiting.retain(|waiting| same_column(&waiting.address, &rule));
            waiting.sort_by(|one, other| captured(one).cmp(&captured(other)));
            let mut slots: Vec<_> = waiting.into_iter().map(|found| found.address).collect();
            if !slots.contains(&rule) {
                slots.push(rule);
            }
            // Of merged cells only the first shows its picture.
            let usable = |row| merges.covering(CellRef { row, column }).is_none();
            store.give_rows(&place, from, usable, &slots)
        };
        Ok(self.store.call(give).await?)
    }
}

fn full(sheet: &Sheet) -> NoTarget {
    NoTarget::Nowhere(format!(
        "sheet {:?} has no row left below the last one in use; name another sheet",
        sheet.title
    ))
}

/// Whether two slots are rows of files in the same column, from the same row on.
fn same_column(one: &SlotAddress, other: &SlotAddress) -> bool {
    match (&one.slot, &other.slot) {
        (
            Slot::RowOfFile {
                column, first_row, ..
            },
            Slot::RowOfFile {
                column: theirs,
                first_row: from,
                ..
            },
        ) => column == theirs && first_row == from && one.sheet == other.sheet,
        _ => false,
    }
}

/// When a picture was captured, as its file says, then its name.
fn captured(waiting: &Waiting) -> (i64, &[u8]) {
    let job = &waiting.job;
    (job.fingerprint.mtime, job.source.path.as_bytes())
}

/// Why there is no row.
pub enum Failed {
    /// The store failed.
    Store(StoreError),
    /// The document has no place for it, or was not reached.
    NoTarget(NoTarget),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoTarget> for Failed {
    fn from(why: NoTarget) -> Self {
        Self::NoTarget(why)
    }
}
