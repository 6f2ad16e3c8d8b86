//! From the words of the configuration to ids: the document of a lane and its sheets, asked once and
//! kept until the API contradicts.

use tokio::time::{Duration, Instant};

use crate::a1::CellRef;
use crate::config::{SheetRef, SpreadsheetRef, SpreadsheetToken};
use crate::feishu::{CallError, Client, Sheet, find_sheet};
use crate::placement::{Slot, SlotAddress};
use crate::store::Target;

/// Sheets are asked for again at most this often, when a job does not fit what is known of them.
const REFRESH: Duration = Duration::from_secs(30);

/// What is known of a lane's document.
#[derive(Debug, Default)]
pub struct Document {
    token: Option<SpreadsheetToken>,
    sheets: Option<(Vec<Sheet>, Instant)>,
}

/// Why a slot has no cell.
#[derive(Debug)]
pub enum NoTarget {
    /// The API did not answer as wished.
    Call(CallError),
    /// The document has no such place: what to tell.
    Nowhere(String),
}

impl From<CallError> for NoTarget {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl Document {
    /// Forgets everything; the next resolution asks again, which is also the cheapest probe.
    pub fn forget(&mut self) {
        *self = Self::default();
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

    /// The cell of a slot.
    pub async fn target(
        &mut self,
        client: &Client,
        address: &SlotAddress,
    ) -> Result<Target, NoTarget> {
        let token = self.token(client, &address.spreadsheet).await?;
        let cell = fixed_cell(&address.slot).map_err(NoTarget::Nowhere)?;
        let fit = |sheets: &[Sheet]| fit(sheets, &address.sheet, cell);
        let known = self
            .sheets
            .as_ref()
            .map(|(sheets, at)| (fit(sheets), at.elapsed() < REFRESH));
        let sheet = match known {
            Some((Ok(sheet), _)) => sheet,
            Some((Err(nowhere), true)) => return Err(NoTarget::Nowhere(nowhere)),
            _ => {
                let fresh = client.sheets(&token).await?;
                let fitted = fit(&fresh);
                self.sheets = Some((fresh, Instant::now()));
                fitted.map_err(NoTarget::Nowhere)?
            }
        };
        Ok(Target {
            spreadsheet: token,
            sheet: sheet.id,
            cell,
        })
    }
}

/// The cell of a slot that has one of its own.
fn fixed_cell(slot: &Slot) -> Result<CellRef, String> {
    match slot {
        Slot::Cell(cell) => Ok(*cell),
        Slot::RowByKey { .. } => {
            Err("this version of pixcell does not write `find_row` rules yet; use `cell`".into())
        }
        Slot::RowOfFile { .. } => {
            Err("this version of pixcell does not write `append` rules yet; use `cell`".into())
        }
    }
}

/// The sheet, when it is there and the cell lies inside its grid.
fn fit(sheets: &[Sheet], wanted: &SheetRef, cell: CellRef) -> Result<Sheet, String> {
    let sheet = find_sheet(sheets, wanted)?;
    if !sheet.holds(cell) {
        let count = |limit: Option<u64>| limit.map_or("?".into(), |limit| limit.to_string());
        return Err(format!(
            "{cell} lies outside the grid of sheet {:?}, which has {} rows and {} columns; add rows or columns to the sheet, or change the rule",
            sheet.title,
            count(sheet.rows),
            count(sheet.columns)
        ));
    }
    Ok(sheet.clone())
}
