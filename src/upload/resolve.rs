//! From the words of the configuration to ids: the document of a lane and its sheets, asked once and
//! kept until the API contradicts. Rows are found by [`KeyColumns`] and given by [`append`](super::append).

use tokio::time::{Duration, Instant};

use super::keys::{KeyColumn, KeyColumns};
use crate::a1::{CellRef, Column, Row};
use crate::config::{SheetId, SheetRef, SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Class, Client, Sheet, find_sheet};
use crate::placement::{Slot, SlotAddress};
use crate::store::Target;

/// Sheets are asked for again at most this often, when a job does not fit what is known of them.
const REFRESH: Duration = Duration::from_secs(30);
/// Rows that a full sheet is extended by at a time.
const ROWS_AT_ONCE: u32 = 100;
/// Most rows that one call adds (open.feishu.cn, "Add rows and columns").
const ROWS_MOST: u32 = 5_000;

/// What is known of a lane's document.
#[derive(Debug, Default)]
pub struct Document {
    token: Option<SpreadsheetToken>,
    sheets: Option<(Vec<Sheet>, Instant)>,
    keys: KeyColumns,
}

/// Why a slot has no cell.
#[derive(Debug)]
pub enum NoTarget {
    /// The API did not answer as wished.
    Call(CallError),
    /// The API refused the place, which concerns nothing else of the document.
    Refused(CallError),
    /// The document has no such place: what to tell.
    Nowhere(String),
    /// The key column does not say the key: what to tell.
    NoRow(String),
}

impl From<CallError> for NoTarget {
    /// An answer about one place says nothing of the rest of the document.
    fn from(error: CallError) -> Self {
        match error.class() {
            Some(Class::Cell | Class::Full) => Self::Refused(error),
            _ => Self::Call(error),
        }
    }
}

impl Document {
    /// Forgets what was asked; the next resolution asks again, which is also the cheapest probe.
    pub fn forget(&mut self) {
        self.token = None;
        self.sheets = None;
        self.keys.forget();
    }

    /// Whether what is known of its sheets is from before `moment`.
    pub fn is_older_than(&self, moment: Instant) -> bool {
        self.sheets.as_ref().is_some_and(|(_, at)| *at < moment)
    }

    /// What is known of key columns.
    pub fn keys(&mut self) -> &mut KeyColumns {
        &mut self.keys
    }

    /// The document's token.
    pub async fn token(
        &mut self,
        client: &Client,
        named: &SpreadsheetRef,
    ) -> Result<SpreadsheetToken, CallError> {
        let node = match named {
            SpreadsheetRef::Token(token) => return Ok(token.clone()),
            SpreadsheetRef::Wiki(node) => node,
        };
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => Ok(self.token.insert(client.wiki_node(node).await?).clone()),
        }
    }

    /// The cell of a slot whose row is known, or is found by its key. `row` is that given to a file of
    /// an `append` rule, and unused otherwise.
    pub async fn target(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        address: &SlotAddress,
        row: Row,
    ) -> Result<Target, NoTarget> {
        let cell = match &address.slot {
            Slot::Cell(cell) => *cell,
            Slot::RowByKey {
                key_column,
                key,
                first_row,
                column,
            } => {
                let wanted = KeyColumn {
                    sheet: address.sheet.clone(),
                    column: *key_column,
                    first_row: *first_row,
                };
                let sheet = self
                    .sheet(client, token, &address.sheet, |sheet| {
                        holds_column(sheet, *key_column).and(holds_column(sheet, *column))
                    })
                    .await?;
                let row = self.keys.row(client, token, &sheet, &wanted, key).await?;
                CellRef {
                    row,
                    column: *column,
                }
            }
            Slot::RowOfFile { column, .. } => CellRef {
                row,
                column: *column,
            },
        };
        let sheet = self
            .sheet(client, token, &address.sheet, |sheet| fits(sheet, cell))
            .await?;
        Ok(Target {
            spreadsheet: token.clone(),
            sheet: sheet.id,
            cell,
        })
    }

    /// The sheet, when it is there and `fits`.
    pub async fn sheet(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        wanted: &SheetRef,
        fits: impl Fn(&Sheet) -> Result<(), String>,
    ) -> Result<Sheet, NoTarget> {
        let fit = |sheets: &[Sheet]| {
            let sheet = find_sheet(sheets, wanted)?;
            fits(sheet).map(|()| sheet.clone())
        };
        let known = self
            .sheets
            .as_ref()
            .map(|(sheets, at)| (fit(sheets), at.elapsed() < REFRESH));
        match known {
            Some((Ok(sheet), _)) => Ok(sheet),
            Some((Err(nowhere), true)) => Err(NoTarget::Nowhere(nowhere)),
            _ => {
                let fresh = client.sheets(token).await?;
                let fitted = fit(&fresh);
                self.sheets = Some((fresh, Instant::now()));
                fitted.map_err(NoTarget::Nowhere)
            }
        }
    }

    /// Adds rows to a sheet until it has this one, a few more than needed.
    ///
    /// # Errors
    /// When the API refuses; rows that were added stay.
    pub async fn extend(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        sheet: &SheetId,
        row: Row,
    ) -> Result<(), NoTarget> {
        loop {
            let known = self.sheets.iter_mut().flat_map(|(sheets, _)| sheets);
            let Some(rows) = known
                .filter(|known| known.id == *sheet)
                .find_map(|known| known.rows.as_mut())
            else {
                return Ok(());
            };
            let missing = u64::from(row.number()).saturating_sub(*rows);
            if missing == 0 {
                return Ok(());
            }
            let more = u32::try_from(missing).unwrap_or(ROWS_MOST);
            let more = more.clamp(ROWS_AT_ONCE, ROWS_MOST);
            client.add_rows(token, sheet, more).await?;
            *rows += u64::from(more);
        }
    }
}

/// Whether a picture can be put into the cell.
///
/// # Errors
/// With a sentence for people.
pub fn fits(sheet: &Sheet, cell: CellRef) -> Result<(), String> {
    if !sheet.holds(cell) {
        let count = |limit: Option<u64>| limit.map_or("?".into(), |limit| limit.to_string());
        return Err(format!(
            "{cell} lies outside the grid of sheet {:?}, which has {} rows and {} columns; add rows or columns to the sheet, or change the rule",
            sheet.title,
            count(sheet.rows),
            count(sheet.columns)
        ));
    }
    match sheet.covering(cell) {
        Some(merge) => Err(format!(
            "{cell} lies inside the merged cells {}:{} of sheet {:?}, whose picture belongs to {}; name that cell, or split the merged cells",
            merge.first, merge.last, sheet.title, merge.first
        )),
        None => Ok(()),
    }
}

/// Whether the sheet has the column.
///
/// # Errors
/// With a sentence for people.
pub fn holds_column(sheet: &Sheet, column: Column) -> Result<(), String> {
    match sheet.columns {
        Some(columns) if u64::from(column.number()) > columns => Err(format!(
            "sheet {:?} has no column {column}, only {columns} columns; add columns to the sheet, or change the rule",
            sheet.title
        )),
        _ => Ok(()),
    }
}
