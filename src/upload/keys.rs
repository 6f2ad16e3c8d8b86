//! Key columns of `find_row`: which row says which key. A column is read once and kept; a row is
//! confirmed by its key cell before it is used, because people sort and insert rows.
//!
//! Calls are a budget: keys that are missing have their column read at most once in [`REFRESH`],
//! however many they are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tracing::warn;

use super::resolve::NoTarget;
use crate::a1::{Column, Row};
use crate::config::{SheetRef, SpreadsheetToken};
use crate::feishu::{CallError, CellValue, Class, Client, Sheet};
use crate::placement::{RowKey, Slot, SlotAddress};

/// A column is read again for missing keys at most this often.
const REFRESH: Duration = Duration::from_secs(30);
/// And no longer after that, however often in vain. Each look is a call: one in ten minutes for a single file
/// without a row would be half of a month's 10,000.
const LOOK_MOST: Duration = Duration::from_hours(1);

/// A key column, as rules name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyColumn {
    /// The sheet.
    pub sheet: SheetRef,
    /// The column.
    pub column: Column,
    /// The first row that may hold a key.
    pub first_row: Row,
}

impl KeyColumn {
    /// The key of a slot that is looked up in this column.
    pub fn key_of<'a>(&self, address: &'a SlotAddress) -> Option<&'a RowKey> {
        match &address.slot {
            Slot::RowByKey {
                key_column,
                key,
                first_row,
                ..
            } if address.sheet == self.sheet
                && *key_column == self.column
                && *first_row == self.first_row =>
            {
                Some(key)
            }
            _ => None,
        }
    }
}

/// What a column said when it was read.
#[derive(Debug)]
pub struct Keys {
    rows: HashMap<RowKey, Rows>,
    read: Instant,
}

/// The rows that say one key.
#[derive(Debug, Clone, Copy)]
struct Rows {
    first: Row,
    second: Option<Row>,
}

impl Keys {
    fn new(values: Vec<CellValue>, first_row: Row, read: Instant) -> Self {
        let mut rows: HashMap<RowKey, Rows> = HashMap::new();
        for (number, value) in (first_row.number()..).zip(values) {
            let (Some(key), Ok(row)) = (key_in(&value), Row::new(number)) else {
                continue;
            };
            match rows.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(Rows {
                        first: row,
                        second: None,
                    });
                }
                Entry::Occupied(mut taken) => {
                    taken.get_mut().second.get_or_insert(row);
                }
            }
        }
        Self { rows, read }
    }

    /// Whether some row says it.
    pub fn has(&self, key: &RowKey) -> bool {
        self.rows.contains_key(key)
    }
}

fn key_in(value: &CellValue) -> Option<RowKey> {
    match value {
        CellValue::Text(text) => RowKey::new(text),
        CellValue::Empty | CellValue::Picture => None,
    }
}

/// When a column is read again because keys are missing from it.
#[derive(Debug, Clone, Copy)]
struct Missing {
    at: Instant,
    /// Looks in vain.
    looks: u32,
}

/// The key columns of one document.
#[derive(Debug, Default)]
pub struct KeyColumns {
    read: HashMap<KeyColumn, Arc<Keys>>,
    missing: HashMap<KeyColumn, Missing>,
    /// Columns with missing keys that were read since [`KeyColumns::take_fresh`].
    fresh: Vec<KeyColumn>,
    /// Keys that two rows say, and which rows were told.
    doubled: HashMap<(KeyColumn, RowKey), (Row, Row)>,
}

impl KeyColumns {
    /// Forgets what columns said, and not which keys are missing.
    pub fn forget(&mut self) {
        self.read.clear();
    }

    /// The row that says `key`, confirmed by this very call.
    pub async fn row(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        sheet: &Sheet,
        wanted: &KeyColumn,
        key: &RowKey,
    ) -> Result<Row, NoTarget> {
        let KeyColumn { column, .. } = *wanted;
        if let Some(known) = self.read.get(wanted) {
            match known.rows.get(key).copied() {
                Some(rows) => {
                    let row = rows.first;
                    match client
                        .read_column(token, &sheet.id, column, row, Some(row))
                        .await
                    {
                        Ok(cell) if cell.first().and_then(key_in).as_ref() == Some(key) => {
                            self.tell_doubled(sheet, wanted, key, rows);
                            return Ok(row);
                        }
                        // The row has moved, or the sheet ends above it now.
                        Ok(_) => {}
                        Err(error) if error.class() == Some(Class::Cell) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                None if known.read.elapsed() < REFRESH => {
                    return Err(self.no_row(sheet, wanted, key));
                }
                None => {}
            }
        }
        self.refresh(client, token, sheet, wanted).await?;
        let found = self
            .read
            .get(wanted)
            .and_then(|keys| keys.rows.get(key).copied());
        match found {
            Some(rows) => {
                self.tell_doubled(sheet, wanted, key, rows);
                Ok(rows.first)
            }
            None => Err(self.no_row(sheet, wanted, key)),
        }
    }

    /// Warns of a key that two rows say, once for each pair of rows.
    fn tell_doubled(&mut self, sheet: &Sheet, column: &KeyColumn, key: &RowKey, rows: Rows) {
        let place = (column.clone(), key.clone());
        let Rows {
            first,
            second: Some(second),
        } = rows
        else {
            self.doubled.remove(&place);
            return;
        };
        if self.doubled.insert(place, (first, second)) != Some((first, second)) {
            warn!(
                sheet = sheet.title,
                "rows {first} and {second} both say {key} in column {}; its picture goes to row {first}; make the keys differ",
                column.column
            );
        }
    }

    /// Reads a column.
    pub async fn refresh(
        &mut self,
        client: &Client,
        token: &SpreadsheetToken,
        sheet: &Sheet,
        wanted: &KeyColumn,
    ) -> Result<(), CallError> {
        let KeyColumn {
            column, first_row, ..
        } = *wanted;
        let read = Instant::now();
        let values = client
            .read_column(token, &sheet.id, column, first_row, None)
            .await?;
        let keys = Keys::new(values, first_row, read);
        self.read.insert(wanted.clone(), Arc::new(keys));
        if self.missing.contains_key(wanted) && !self.fresh.contains(wanted) {
            self.fresh.push(wanted.clone());
        }
        Ok(())
    }

    /// A column with missing keys that was read since this was last asked, and what it says.
    pub fn take_fresh(&mut self) -> Option<(KeyColumn, Arc<Keys>)> {
        let column = self.fresh.pop()?;
        let keys = Arc::clone(self.read.get(&column)?);
        Some((column, keys))
    }

    fn no_row(&mut self, sheet: &Sheet, wanted: &KeyColumn, key: &RowKey) -> NoTarget {
        let read = self
            .read
            .get(wanted)
            .map_or_else(Instant::now, |keys| keys.read);
        self.missing.insert(
            wanted.clone(),
            Missing {
                at: read + REFRESH,
                looks: 0,
            },
        );
        let KeyColumn {
            column, first_row, ..
        } = wanted;
        NoTarget::NoRow(format!(
            "no row of sheet {:?} says {key} in column {column} from row {first_row} on; add one, or rename the file; the column is read again by itself",
            sheet.title
        ))
    }

    /// The column that is to be read again first, and when.
    pub fn next_look(&self) -> Option<(&KeyColumn, Instant)> {
        let first = self.missing.iter().min_by_key(|(_, missing)| missing.at);
        first.map(|(column, missing)| (column, missing.at))
    }

    /// A look at a column is over; unless it says all missing keys, there is another, after waits that
    /// double.
    pub fn looked(&mut self, column: &KeyColumn) {
        if let Some(missing) = self.missing.get_mut(column) {
            missing.looks = missing.looks.saturating_add(1);
            // Beyond ten doublings the cap holds anyway.
            let wait = REFRESH.saturating_mul(1 << missing.looks.min(10));
            missing.at = Instant::now() + wait.min(LOOK_MOST);
        }
    }

    /// No key is missing from the column any more.
    pub fn found_all(&mut self, column: &KeyColumn) {
        self.missing.remove(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_vain_become_hourly() {
        let (mut columns, column) = (KeyColumns::default(), column());
        let missing = Missing {
            at: Instant::now(),
            looks: 0,
        };
        columns.missing.insert(column.clone(), missing);
        let waits: Vec<_> = (0..40)
            .map(|_| {
                let now = Instant::now();
                columns.looked(&column);
                let (_, at) = columns.next_look().unwrap();
                at.duration_since(now).as_secs()
            })
            .collect();
        assert_eq!(waits[..6], [60, 120, 240, 480, 960, 1920]);
        assert!(waits[6..].iter().all(|wait| *wait == 3600), "{waits:?}");
    }

    fn column() -> KeyColumn {
        KeyColumn {
            sheet: SheetRef::First,
            column: "A".parse().unwrap(),
            first_row: Row::new(2).unwrap(),
        }
    }

    #[test]
    fn the_first_of_two_rows_counts_and_the_second_is_known() {
        let text = |text: &str| CellValue::Text(text.into());
        let values = vec![
            text("7"),
            CellValue::Empty,
            CellValue::Picture,
            text("007"),
            text("７ "),
        ];
        let keys = Keys::new(values, Row::new(2).unwrap(), Instant::now());
        let rows = |key: &str| {
            let rows = keys.rows.get(&RowKey::new(key).unwrap())?;
            Some((rows.first.number(), rows.second.map(Row::number)))
        };
        assert_eq!(rows("7"), Some((2, Some(6))));
        assert_eq!(rows("007"), Some((5, None)));
        assert_eq!(rows("8"), None);
    }
}
