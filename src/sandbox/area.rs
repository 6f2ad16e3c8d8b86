//! Areas of a sheet: a cell, a rectangle, a column from some row on. Pure.
//!
//! `a1` knows single cells only, since pixcell's placements need no more; the calls that read and
//! write values need these.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rules::{Refusal, check_cell};
use crate::a1::{CellRef, Column, Row};

/// A rectangle of cells; without a last row it reaches to the sheet's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Area {
    /// The upper left cell.
    pub first: CellRef,
    /// The last column, not left of the first.
    pub last_column: Column,
    /// The last row, not above the first; `None`: as far as the sheet goes.
    pub last_row: Option<Row>,
}

impl Area {
    /// Whether the cell lies in the area.
    pub fn contains(&self, cell: CellRef) -> bool {
        (self.first.column..=self.last_column).contains(&cell.column)
            && self.first.row <= cell.row
            && self.last_row.is_none_or(|last| cell.row <= last)
    }
}

impl From<CellRef> for Area {
    fn from(cell: CellRef) -> Self {
        Self {
            first: cell,
            last_column: cell.column,
            last_row: Some(cell.row),
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.first, self.last_column)?;
        self.last_row.map_or(Ok(()), |row| row.fmt(f))
    }
}

impl From<Area> for String {
    fn from(area: Area) -> Self {
        area.to_string()
    }
}

impl TryFrom<String> for Area {
    type Error = Refusal;
    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl FromStr for Area {
    type Err = Refusal;

    /// Reads `B2`, `B1:B1`, `A1:C5`, `A2:A` and `A:C`.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::Range(format!("{text:?} is no range of cells"));
        let Some((from, to)) = text.split_once(':') else {
            return check_cell(text, text).map(Self::from);
        };
        let column = |text: &str| text.parse::<Column>().map_err(|_| wrong());
        let first = match from.parse::<Column>() {
            Ok(column) => CellRef {
                row: Row::new(1).map_err(|_| wrong())?,
                column,
            },
            Err(_) => check_cell(from, text)?,
        };
        let open = to.bytes().all(|byte| byte.is_ascii_alphabetic());
        let (last_column, last_row) = if open {
            (column(to)?, None)
        } else {
            let last = check_cell(to, text)?;
            (last.column, Some(last.row))
        };
        if last_column < first.column || last_row.is_some_and(|last| last < first.row) {
            return Err(wrong());
        }
        Ok(Self {
            first,
            last_column,
            last_row,
        })
    }
}

/// Reads `<sheetId>!<area>`.
///
/// # Errors
/// [`Refusal::Range`], or [`Refusal::Bounds`] for cells that no sheet can have.
pub fn on_sheet(range: &str) -> Result<(String, Area), Refusal> {
    let (sheet, area) = range
        .split_once('!')
        .filter(|(sheet, _)| !sheet.is_empty())
        .ok_or_else(|| Refusal::Range(format!("{range:?} is not `<sheetId>!<cells>`")))?;
    Ok((sheet.to_owned(), area.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("B2", "B2:B2")]
    #[case("B1:B1", "B1:B1")]
    #[case("A1:C5", "A1:C5")]
    #[case("A2:A", "A2:A")]
    #[case("A:C", "A1:C")]
    fn an_area_is_read(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<Area>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case("2:3")]
    #[case("B1:A1")]
    #[case("A2:A1")]
    #[case("A1:B2:C3")]
    #[case("A1:")]
    fn a_wrong_area_is_refused(#[case] text: &str) {
        assert!(matches!(text.parse::<Area>(), Err(Refusal::Range(_))));
    }

    #[test]
    fn an_open_area_reaches_to_the_end() {
        let area: Area = "A2:B".parse().unwrap();
        for (cell, inside) in [
            ("A1", false),
            ("A2", true),
            ("B5000000", true),
            ("C2", false),
        ] {
            assert_eq!(area.contains(cell.parse().unwrap()), inside, "{cell}");
        }
    }
}
