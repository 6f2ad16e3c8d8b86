//! A1 notation: columns, rows and cells of one sheet as types that cannot be wrong once made.
//!
//! Rows and columns count from 1, as people write them. The bounds are the product's own: a sheet
//! has at most 13,000 columns and 5,000,000 cells, so no row is beyond 5,000,000
//! (open.feishu.cn, "Spreadsheet overview"). Pure; knows nothing of sheets, tokens or files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The last column a sheet can have.
pub const MAX_COLUMN: u32 = 13_000;
/// The last row a sheet can have: its cell limit with a single column.
pub const MAX_ROW: u32 = 5_000_000;

/// Why a text is no column, row or cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum A1Error {
    /// The text holds no cell at all.
    #[error("a cell is letters then a number, as in `B2`, but this is {0:?}")]
    Shape(String),
    /// The text names more than one cell.
    #[error("{0:?} is a range; a picture goes into a single cell, as in `B2`")]
    Range(String),
    /// Column letters were expected.
    #[error("a column is one to three letters, as in `A`, but this is {0:?}")]
    NoColumn(String),
    /// The column lies beyond [`MAX_COLUMN`].
    #[error("column {0} lies beyond the last column of a sheet, {last} (13,000)", last = Column(MAX_COLUMN))]
    ColumnBeyond(String),
    /// Rows count from 1.
    #[error("rows count from 1, so there is no row {0}")]
    RowZero(String),
    /// The row lies beyond [`MAX_ROW`].
    #[error("row {0} lies beyond the last row a sheet can have, 5,000,000")]
    RowBeyond(String),
}

/// A column, 1 (`A`) to [`MAX_COLUMN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Column(u32);

impl Column {
    /// The column with this number, counted from 1.
    ///
    /// # Errors
    /// When the number is 0 or beyond [`MAX_COLUMN`].
    pub fn new(number: u32) -> Result<Self, A1Error> {
        match number {
            1..=MAX_COLUMN => Ok(Self(number)),
            _ => Err(A1Error::ColumnBeyond(number.to_string())),
        }
    }

    /// The column's number, counted from 1.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Column {
    type Error = A1Error;
    fn try_from(number: u32) -> Result<Self, A1Error> {
        Self::new(number)
    }
}

impl From<Column> for u32 {
    fn from(column: Column) -> u32 {
        column.0
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bijective base 26, least digit first; three letters reach beyond MAX_COLUMN.
        let mut letters = [0u8; 3];
        let mut start = letters.len();
        let mut rest = self.0;
        while rest > 0 {
            let digit = (rest - 1) % 26;
            start -= 1;
            letters[start] = b'A' + u8::try_from(digit).unwrap_or(0);
            rest = (rest - 1) / 26;
        }
        letters[start..]
            .iter()
            .try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl FromStr for Column {
    type Err = A1Error;

    fn from_str(text: &str) -> Result<Self, A1Error> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(A1Error::NoColumn(text.to_owned()));
        }
        let beyond = || A1Error::ColumnBeyond(text.to_ascii_uppercase());
        if text.len() > 3 {
            return Err(beyond());
        }
        let number = text.bytes().fold(0u32, |number, letter| {
            number * 26 + u32::from(letter.to_ascii_uppercase() - b'A') + 1
        });
        Self::new(number).map_err(|_| beyond())
    }
}

/// A row, 1 to [`MAX_ROW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Row(u32);

impl Row {
    /// The row with this number, counted from 1.
    ///
    /// # Errors
    /// When the number is 0 or beyond [`MAX_ROW`].
    pub fn new(number: u32) -> Result<Self, A1Error> {
        match number {
            0 => Err(A1Error::RowZero("0".into())),
            1..=MAX_ROW => Ok(Self(number)),
            _ => Err(A1Error::RowBeyond(number.to_string())),
        }
    }

    /// The row's number, counted from 1.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Row {
    type Error = A1Error;
    fn try_from(number: u32) -> Result<Self, A1Error> {
        Self::new(number)
    }
}

impl From<Row> for u32 {
    fn from(row: Row) -> u32 {
        row.0
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One cell of a sheet, as `B2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellRef {
    /// The cell's row. First, so that cells order as one reads a page.
    pub row: Row,
    /// The cell's column.
    pub column: Column,
}

impl fmt::Display for CellRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.column, self.row)
    }
}

impl FromStr for CellRef {
    type Err = A1Error;

    /// Reads `B2`, `b2` and the API's own form of one cell, `B2:B2`.
    fn from_str(text: &str) -> Result<Self, A1Error> {
        if let Some((from, to)) = text.split_once(':') {
            let (from, to) = (Self::from_str(from)?, Self::from_str(to)?);
            return if from == to {
                Ok(from)
            } else {
                Err(A1Error::Range(text.to_owned()))
            };
        }
        let shape = || A1Error::Shape(text.to_owned());
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (column, row) = text.split_at(letters);
        if column.is_empty() || row.is_empty() || !row.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(shape());
        }
        let column = Column::from_str(column)?;
        // `007` stays readable as row 7; only the digits decide.
        let digits = row.trim_start_matches('0');
        let row = match digits.len() {
            0 => Err(A1Error::RowZero(row.to_owned())),
            1..=7 => Row::new(digits.parse().map_err(|_| shape())?),
            _ => Err(A1Error::RowBeyond(row.to_owned())),
        }?;
        Ok(Self { row, column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("A1", 1, 1)]
    #[case("b2", 2, 2)]
    #[case("Z10", 26, 10)]
    #[case("AA1", 27, 1)]
    #[case("AZ007", 52, 7)]
    #[case("H7:H7", 8, 7)]
    #[case("h7:H7", 8, 7)]
    #[case("SEZ5000000", 13_000, 5_000_000)]
    fn a_cell_is_read(#[case] text: &str, #[case] column: u32, #[case] row: u32) {
        let cell: CellRef = text.parse().unwrap();
        assert_eq!((cell.column.number(), cell.row.number()), (column, row));
    }

    #[rstest]
    #[case("", A1Error::Shape(String::new()))]
    #[case("7", A1Error::Shape("7".into()))]
    #[case("A", A1Error::Shape("A".into()))]
    #[case("A-1", A1Error::Shape("A-1".into()))]
    #[case("A1 ", A1Error::Shape("A1 ".into()))]
    #[case("Ä1", A1Error::Shape("Ä1".into()))]
    #[case("A１", A1Error::Shape("A１".into()))]
    #[case("a0", A1Error::RowZero("0".into()))]
    #[case("A1:B2", A1Error::Range("A1:B2".into()))]
    #[case("SFA1", A1Error::ColumnBeyond("SFA".into()))]
    #[case("ABCD1", A1Error::ColumnBeyond("ABCD".into()))]
    #[case("A5000001", A1Error::RowBeyond("5000001".into()))]
    #[case("A99999999999999", A1Error::RowBeyond("99999999999999".into()))]
    fn a_wrong_cell_says_what_is_wrong(#[case] text: &str, #[case] error: A1Error) {
        assert_eq!(text.parse::<CellRef>(), Err(error));
    }

    proptest! {
        #[test]
        fn every_cell_round_trips(column in 1..=MAX_COLUMN, row in 1..=MAX_ROW) {
            let cell = CellRef { row: Row::new(row).unwrap(), column: Column::new(column).unwrap() };
            prop_assert_eq!(cell.to_string().parse::<CellRef>(), Ok(cell));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<CellRef>();
            let _ = text.parse::<Column>();
        }
    }
}
