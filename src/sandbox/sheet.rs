//! One sheet: its grid, what is in its cells, its revision. Pure.
//!
//! A sheet's revision starts at 0 and grows by one with every update (open.feishu.cn, "Write
//! images").

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::area::Area;
use super::body::Encoding;
use super::rules::Refusal;
use super::spec::{Merge, SheetSpec};
use crate::a1::{CellRef, Column, MAX_COLUMN, MAX_ROW, Row};
use crate::image::{ContentHash, Format};

/// Cells that a sheet may have (as above).
pub const MAX_CELLS: u64 = 5_000_000;

/// One sheet.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// Its id.
    pub id: String,
    /// What its tab says.
    pub title: String,
    /// Rows of its grid.
    pub rows: u32,
    /// Columns of its grid.
    pub columns: u32,
    /// Whether it is hidden.
    pub hidden: bool,
    /// `sheet`, or something that has no grid.
    pub resource_type: String,
    /// Merged cells.
    pub merges: Vec<Merge>,
    /// Cells that may not be written.
    pub locked: Vec<Area>,
    /// How often it was updated.
    pub revision: u64,
    /// The cells that are not empty.
    #[serde(serialize_with = "by_name")]
    pub cells: BTreeMap<CellRef, Cell>,
}

/// What is in a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cell {
    /// A picture.
    Image(ImageCell),
    /// A text, number or boolean.
    Value {
        /// The value.
        value: Value,
    },
}

/// A picture in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageCell {
    /// Its name as sent.
    pub name: String,
    /// The hash of its bytes; in JSON all 64 hex digits.
    #[serde(rename = "blake3", serialize_with = "hex")]
    pub hash: ContentHash,
    /// Its length in bytes.
    pub length: u64,
    /// Its format, told from its bytes.
    pub format: Format,
    /// Width in pixels, where the header tells.
    pub width: Option<u32>,
    /// Height in pixels, where the header tells.
    pub height: Option<u32>,
    /// How it travelled.
    pub encoding: Encoding,
    /// By which its bytes can be downloaded.
    pub file_token: String,
    /// The sheet's revision that it made.
    pub revision: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_ms: u64,
}

fn hex<S: Serializer>(hash: &ContentHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hash.to_hex())
}

fn by_name<S: Serializer>(
    cells: &BTreeMap<CellRef, Cell>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cells.iter().map(|(at, cell)| (at.to_string(), cell)))
}

/// Changes a field to what is asked for, if anything is.
pub(super) fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

impl Sheet {
    pub(super) fn new(id: &str) -> Result<Self, String> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!(
                "a sheet id is letters and digits, but this is {id:?}"
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            title: id.to_owned(),
            rows: 200,
            columns: 20,
            hidden: false,
            resource_type: "sheet".to_owned(),
            merges: Vec::new(),
            locked: Vec::new(),
            revision: 0,
            cells: BTreeMap::new(),
        })
    }

    pub(super) fn change(&mut self, spec: &SheetSpec) -> Result<(), String> {
        set(&mut self.title, spec.title.as_ref());
        set(&mut self.rows, spec.rows.as_ref());
        set(&mut self.columns, spec.columns.as_ref());
        set(&mut self.hidden, spec.hidden.as_ref());
        set(&mut self.resource_type, spec.resource_type.as_ref());
        set(&mut self.merges, spec.merges.as_ref());
        set(&mut self.locked, spec.locked.as_ref());
        fits(self.rows, self.columns).map_err(|why| format!("sheet {}: {why}", self.id))?;
        let (rows, columns) = (self.rows, self.columns);
        self.cells
            .retain(|at, _| at.row.number() <= rows && at.column.number() <= columns);
        Ok(())
    }

    /// Checks that an area may be written.
    ///
    /// # Errors
    /// [`Refusal::Bounds`] outside the grid, [`Refusal::Locked`] when it touches a locked cell.
    pub fn check(&self, area: Area) -> Result<(), Refusal> {
        self.check_bounds(area)?;
        let touches = |locked: &&Area| {
            let rows = locked.first.row <= area.last_row.unwrap_or(area.first.row)
                && locked.last_row.is_none_or(|last| area.first.row <= last);
            let columns =
                locked.first.column <= area.last_column && area.first.column <= locked.last_column;
            rows && columns
        };
        match self.locked.iter().find(touches) {
            Some(locked) => Err(Refusal::Locked(locked.to_string())),
            None => Ok(()),
        }
    }

    /// Checks that an area lies in the grid.
    ///
    /// # Errors
    /// [`Refusal::Bounds`].
    pub fn check_bounds(&self, area: Area) -> Result<(), Refusal> {
        let last_row = area.last_row.unwrap_or(area.first.row);
        if area.last_column.number() > self.columns || last_row.number() > self.rows {
            return Err(Refusal::Bounds(format!(
                "{area} in a grid of {} rows and {} columns",
                self.rows, self.columns
            )));
        }
        Ok(())
    }

    /// The locked rows and columns as `metainfo` tells them: counted from 1, ends included, without a
    /// dimension for the whole sheet. Other locked cells are not in the documented answer.
    pub(super) fn protected_ranges(&self) -> Vec<Value> {
        let (rows, columns) = (self.rows, self.columns);
        let told = self.locked.iter().enumerate().filter_map(|(index, area)| {
            let last = area.last_row.map_or(rows, Row::number);
            let all_rows = area.first.row.number() == 1 && last >= rows;
            let all_columns =
                area.first.column.number() == 1 && area.last_column.number() >= columns;
            let dimension = |major: &str, start: u32, end: u32| {
                json!({"majorDimension": major, "sheetId": self.id, "startIndex": start, "endIndex": end})
            };
            let mut range = json!({
                "protectId": format!("{}", 7_379_738_014_546_812_456_u64 + index as u64),
                "sheetId": self.id,
                "lockInfo": "",
            });
            match (all_rows, all_columns) {
                (true, true) => {}
                (true, false) => {
                    let (first, last) = (area.first.column, area.last_column);
                    range["dimension"] = dimension("COLUMNS", first.number(), last.number());
                }
                (false, true) => {
                    range["dimension"] = dimension("ROWS", area.first.row.number(), last);
                }
                (false, false) => return None,
            }
            Some(range)
        });
        told.collect()
    }

    /// Adds rows or columns at the end.
    ///
    /// # Errors
    /// [`Refusal::CellsFull`].
    pub fn grow(&mut self, rows: u32, columns: u32) -> Result<u64, Refusal> {
        let rows = self.rows.saturating_add(rows);
        let columns = self.columns.saturating_add(columns);
        fits(rows, columns).map_err(Refusal::CellsFull)?;
        (self.rows, self.columns) = (rows, columns);
        self.revision += 1;
        Ok(self.revision)
    }

    /// Inserts rows, as a person does: all from row `before` on move down with what is in them.
    ///
    /// # Errors
    /// [`Refusal::CellsFull`].
    pub fn insert_rows(&mut self, before: u32, count: u32) -> Result<u64, Refusal> {
        let revision = self.grow(count, 0)?;
        self.move_rows(|row| if row < before { row } else { row + count });
        Ok(revision)
    }

    /// Sorts the rows from `first` on by the text in a column, as a person does: pictures travel with
    /// their rows, and rows that say nothing there come last.
    pub fn sort_rows(&mut self, first: u32, by: Column) -> u64 {
        let mut order: Vec<u32> = (first..=self.rows).collect();
        let text = |row: u32| {
            let row = Row::new(row).ok()?;
            match self.cells.get(&CellRef { row, column: by })? {
                Cell::Value { value } => Some(value.to_string()),
                Cell::Image(_) => None,
            }
        };
        order.sort_by_key(|row| {
            let text = text(*row);
            (text.is_none(), text)
        });
        let places: BTreeMap<u32, u32> = order.into_iter().zip(first..).collect();
        self.move_rows(|row| places.get(&row).copied().unwrap_or(row));
        self.revision += 1;
        self.revision
    }

    fn move_rows(&mut self, to: impl Fn(u32) -> u32) {
        let cells = std::mem::take(&mut self.cells);
        let moved = cells.into_iter().filter_map(|(at, cell)| {
            let row = Row::new(to(at.row.number())).ok()?;
            Some((CellRef { row, ..at }, cell))
        });
        self.cells = moved.collect();
    }

    /// The picture in a cell, named as `B2`.
    pub fn image(&self, cell: &str) -> Option<&ImageCell> {
        match self.cells.get(&cell.parse().ok()?)? {
            Cell::Image(image) => Some(image),
            Cell::Value { .. } => None,
        }
    }
}

fn fits(rows: u32, columns: u32) -> Result<(), String> {
    let cells = u64::from(rows) * u64::from(columns);
    let good =
        rows > 0 && columns > 0 && rows <= MAX_ROW && columns <= MAX_COLUMN && cells <= MAX_CELLS;
    if good {
        Ok(())
    } else {
        Err(format!(
            "{rows} rows and {columns} columns; a sheet has 1 to {MAX_COLUMN} columns and at most {MAX_CELLS} cells"
        ))
    }
}
