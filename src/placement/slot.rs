//! The logical place an image is for. Dedup, ordering and the queue are per slot.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RelPath, RowKey};
use crate::a1::{CellRef, Column, Row};
use crate::config::{SheetRef, SpreadsheetRef};

/// A place within a sheet that does not move when people sort or insert rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// A fixed cell.
    Cell(CellRef),
    /// The row whose key column says `key`.
    RowByKey {
        /// Where the key stands.
        key_column: Column,
        /// What it says.
        key: RowKey,
        /// The first row that may hold it.
        first_row: Row,
        /// Where the picture goes in that row.
        column: Column,
    },
    /// The row given to one file.
    RowOfFile {
        /// The file.
        file: RelPath,
        /// Where the picture goes.
        column: Column,
        /// The first row that may be given.
        first_row: Row,
    },
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell(cell) => cell.fmt(f),
            Self::RowByKey {
                key_column,
                key,
                column,
                ..
            } => {
                write!(
                    f,
                    "column {column} of the row where {key_column} says {key}"
                )
            }
            Self::RowOfFile { file, column, .. } => {
                write!(f, "column {column} of the row of {file}")
            }
        }
    }
}

/// A slot with the sheet and document it lies in, as the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotAddress {
    /// The document.
    pub spreadsheet: SpreadsheetRef,
    /// The sheet.
    pub sheet: SheetRef,
    /// The place in it.
    pub slot: Slot,
}

impl fmt::Display for SlotAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in {}", self.slot, self.sheet, self.spreadsheet)
    }
}
