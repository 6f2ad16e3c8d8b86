//! The rows given to files by `append`: never two rows for a file, never two files for a row.
//!
//! One tree holds both directions and changes in one transaction: `s` and a slot's key lead to the
//! row, `r` with document, sheet, column and row to the slot. A row is never given twice, also not
//! when its file is gone: its picture stays.

use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionResult, TransactionError};

use super::{Result, Store, Waiting};
use crate::a1::{Column, Row};
use crate::config::{SheetId, SpreadsheetRef, SpreadsheetToken};
use crate::placement::SlotAddress;
use crate::store::envelope::{self, Damage};
use crate::store::record::JobState;
use crate::store::txn::{Abort, lane_prefix, queue_key, slot_key};

const TREE: &str = "rows";

/// The column whose rows are given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowColumn {
    /// The document.
    pub spreadsheet: SpreadsheetToken,
    /// The sheet's id.
    pub sheet: SheetId,
    /// The column.
    pub column: Column,
}

/// A row and the column it was given in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    place: RowColumn,
    row: Row,
}

impl Store {
    /// The row that a slot was given in this column.
    ///
    /// # Errors
    /// When sled fails or the record is damaged.
    pub fn row_of(&self, address: &SlotAddress, place: &RowColumn) -> Result<Option<Row>> {
        let Ok(key) = of_slot(address) else {
            return Ok(None);
        };
        let given: Option<Given> = self.read(TREE, &self.0.rows, &key)?;
        Ok(given
            .filter(|given| given.place == *place)
            .map(|given| given.row))
    }

    /// The lowest row of the column that was ever given; none below it was.
    ///
    /// # Errors
    /// When sled fails.
    pub fn last_given(&self, place: &RowColumn) -> Result<Option<Row>> {
        let prefix = self.of_column(place)?;
        let Some(entry) = self.0.rows.scan_prefix(&prefix).next_back() else {
            return Ok(None);
        };
        let (key, _) = entry.map_err(|source| self.failed(source))?;
        let number = key.get(prefix.len()..).and_then(|row| row.try_into().ok());
        let row = number.and_then(|row| Row::new(u32::from_be_bytes(row)).ok());
        row.map(Some)
            .ok_or_else(|| self.damaged(TREE, Damage::Content))
    }

    /// Gives each slot a row of its own, in their order, from `from` on, and leaves out rows that are
    /// taken or not `usable`. A slot that has a row in this column keeps it. All or nothing, and on
    /// disk when this returns.
    ///
    /// # Errors
    /// When sled or the disk fails, or a record is damaged.
    pub fn give_rows(
        &self,
        place: &RowColumn,
        from: Row,
        usable: impl Fn(Row) -> bool,
        slots: &[SlotAddress],
    ) -> Result<()> {
        let (sequence, column) = (self.next_id()?, self.of_column(place)?);
        self.0
            .rows
            .transaction(|rows| -> ConflictableTransactionResult<(), _> {
                let mut next = from.number();
                for address in slots {
                    let key = of_slot(address)?;
                    let before: Option<Given> = rows
                        .get(&key)?
                        .map(|sealed| envelope::unseal(&key, &sealed))
                        .transpose()
                        .map_err(aborted)?;
                    match before {
                        Some(before) if before.place == *place => continue,
                        // The rule feeds another sheet now; its picture stays where it is.
                        Some(_) | None => {}
                    }
                    // Beyond the last row there is: whoever writes there is told by the grid.
                    while let Ok(row) = Row::new(next) {
                        next += 1;
                        let taken = of_row(&column, row);
                        if usable(row) && rows.get(&taken)?.is_none() {
                            let place = place.clone();
                            let given = envelope::seal(&key, sequence, &Given { place, row });
                            rows.insert(key.as_slice(), given.map_err(unsealable)?)?;
                            rows.insert(taken, key.as_slice())?;
                            break;
                        }
                    }
                }
                Ok(())
            })
            .map_err(|error| match error {
                TransactionError::Abort((tree, damage)) => self.damaged(tree, damage),
                TransactionError::Storage(source) => self.failed(source),
            })?;
        // A power cut after the call would have the file appended once more.
        self.sync()
    }

    /// The first jobs of a lane that are queued, in their order, at most so many.
    ///
    /// # Errors
    /// When sled fails or a record is damaged.
    pub fn queue_of(&self, lane: &SpreadsheetRef, most: usize) -> Result<Vec<Waiting>> {
        let mut found = Vec::new();
        for entry in self.0.queue.scan_prefix(lane_prefix(lane)).take(most) {
            let (place, key) = entry.map_err(|source| self.failed(source))?;
            let address: SlotAddress =
                postcard::from_bytes(&key).map_err(|_| self.damaged("queue", Damage::Content))?;
            let slot = self.slot(&address)?;
            let current = queue_key(&address, &slot).is_some_and(|key| place == key);
            if let Some(job) = slot.job.filter(|_| current)
                && let JobState::Queued { due } = job.state
            {
                found.push(Waiting { address, job, due });
            }
        }
        Ok(found)
    }

    fn of_column(&self, place: &RowColumn) -> Result<Vec<u8>> {
        let place = postcard::to_stdvec(place).map_err(|_| self.damaged(TREE, Damage::Content))?;
        Ok([b"r", place.as_slice()].concat())
    }
}

fn of_slot(address: &SlotAddress) -> std::result::Result<Vec<u8>, Abort> {
    Ok([b"s", slot_key(address)?.as_slice()].concat())
}

fn of_row(column: &[u8], row: Row) -> Vec<u8> {
    [column, &row.number().to_be_bytes()].concat()
}

fn aborted(damage: Damage) -> Abort {
    Abort::Abort((TREE, damage))
}

fn unsealable(_: postcard::Error) -> Abort {
    aborted(Damage::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SheetRef;
    use crate::placement::Slot;

    fn slot(file: &str) -> SlotAddress {
        SlotAddress {
            spreadsheet: SpreadsheetRef::Token("Doc".parse().unwrap()),
            sheet: SheetRef::First,
            slot: Slot::RowOfFile {
                file: file.as_bytes().to_vec().try_into().unwrap(),
                column: "B".parse().unwrap(),
                first_row: row(2),
            },
        }
    }

    fn row(number: u32) -> Row {
        Row::new(number).unwrap()
    }

    fn place(sheet: &str) -> RowColumn {
        RowColumn {
            spreadsheet: "Doc".parse().unwrap(),
            sheet: sheet.parse().unwrap(),
            column: "B".parse().unwrap(),
        }
    }

    #[test]
    fn a_file_keeps_its_row_and_no_row_is_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (place("Q7"), place("Z9"));
        {
            let store = Store::open(dir.path(), 1).unwrap();
            assert_eq!(store.last_given(&here).unwrap(), None);
            let usable = |row: Row| row.number() != 3;
            let files = [slot("a"), slot("b")];
            store.give_rows(&here, row(2), usable, &files).unwrap();
            // From the top again: `a` keeps its row, `c` gets none that was given.
            let files = [slot("a"), slot("c")];
            store.give_rows(&here, row(2), |_| true, &files).unwrap();
        }
        let store = Store::open(dir.path(), 2).unwrap();
        let rows = ["a", "b", "c"].map(|file| {
            let given = store.row_of(&slot(file), &here).unwrap();
            given.map(Row::number)
        });
        assert_eq!(rows, [Some(2), Some(4), Some(3)]);
        assert_eq!(store.last_given(&here).unwrap(), Some(row(4)));
        // Another sheet counts for itself.
        assert_eq!(store.row_of(&slot("a"), &there).unwrap(), None);
        store
            .give_rows(&there, row(2), |_| true, &[slot("a")])
            .unwrap();
        assert_eq!(store.row_of(&slot("a"), &there).unwrap(), Some(row(2)));
        store
            .give_rows(&here, row(2), |_| true, &[slot("d")])
            .unwrap();
        assert_eq!(store.row_of(&slot("d"), &here).unwrap(), Some(row(5)));
    }
}
