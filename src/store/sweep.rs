//! Has sled give space in its file back while it is used. Knows nothing of what is recorded.
//!
//! sled appends to half-megabyte segments and uses one again when nothing in it is of use any more. From one that is
//! more than half of no use it moves the rest away, one page with each page that it writes whole. That is
//! too slow for records of many files that change in no order (measured: four fifths of the file were of no
//! use), and sled's own thread, which does the remainder, is off: see the flusher. So a page of our own is
//! changed until sled writes it whole, again and again.

use std::fs::File;

use sled::{Db, Tree};

/// A smaller file is left alone: what it could shrink by is not worth a write. One of this length has each step of
/// a transaction pay for half a page that is moved, a longer one for more, in proportion, so that it stops
/// growing where as much is given back as is taken. A picture takes three steps and some 3 kB of the file; a
/// page has some 2 kB, and moving it takes 25 µs. Measured with 100,000 files found in no order and rewritten
/// in another, files and slots as large as real ones: at most 88 MB. With half a page for each step
/// whatever the length it was 158 MB, and more with each round.
pub(super) const LEAST_BYTES: u64 = 16 << 20;
/// A file that asks for more holds so much of use.
const MOST_A_STEP: u64 = 4;
/// As many changes of a page has sled keep beside it before it writes the page whole (its
/// `PAGE_CONSOLIDATION_THRESHOLD`).
const CHANGES: usize = 10;
/// Moves pages in one database.
#[derive(Debug)]
pub(super) struct Sweep {
    page: Tree,
    least: u64,
    /// What is not paid for yet: steps, each times the length of the file in bytes.
    owed: u64,
    change: u8,
}

impl Sweep {
    /// Of this database; a file of up to `least` bytes is left alone.
    pub fn new(db: &Db, least: u64) -> sled::Result<Self> {
        Ok(Self {
            page: db.open_tree("sweep")?,
            least,
            owed: 0,
            change: 0,
        })
    }

    /// So many further steps were recorded in the database's file, `log`. Ends early when it is not to go on, or the disk refuses: whoever
    /// records next is told.
    pub fn pay(&mut self, log: &File, steps: usize, goes_on: impl Fn() -> bool) {
        let length = log.metadata().map_or(0, |meta| meta.len());
        if length <= self.least {
            return;
        }
        let page = self.least.saturating_mul(2).max(1);
        let each = length.min(page.saturating_mul(MOST_A_STEP));
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.owed = self.owed.saturating_add(steps.saturating_mul(each));
        while self.owed >= page && goes_on() {
            self.owed -= page;
            for _ in 0..CHANGES {
                // sled takes a value that is there already for no change.
                self.change = self.change.wrapping_add(1);
                if self.page.insert(b"", &[self.change]).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of the file after records have been written again and again, in no order.
    fn rewritten(least: u64) -> u64 {
        const RECORDS: u64 = 6_000;
        let dir = tempfile::tempdir().unwrap();
        let config = sled::Config::new().path(dir.path()).flush_every_ms(None);
        let db = config.open().unwrap();
        let log = File::open(dir.path().join("db")).unwrap();
        let mut sweep = Sweep::new(&db, least).unwrap();
        let (often, seldom) = (
            db.open_tree("often").unwrap(),
            db.open_tree("seldom").unwrap(),
        );
        for turn in 0..RECORDS * 3 {
            // A prime, so that each comes once in a round.
            let key = (turn * 7919 % RECORDS).to_be_bytes();
            for step in 0..3_u8 {
                let value = [turn.to_be_bytes().as_slice(), &[step; 240]].concat();
                often.insert(key, value).unwrap();
            }
            let value = [turn.to_be_bytes().as_slice(), &[0; 100]].concat();
            seldom.insert(key, value).unwrap();
            if turn % 50 == 0 {
                sweep.pay(&log, 150, || true);
                db.flush().unwrap();
            }
        }
        log.metadata().unwrap().len() >> 10
    }

    #[test]
    fn a_file_that_is_swept_is_not_much_larger_than_what_it_holds() {
        let (swept, left) = (rewritten(256 << 10), rewritten(u64::MAX));
        println!("{swept} KiB swept, {left} KiB left alone");
        assert!(swept * 2 <= left, "{swept} KiB swept, {left} left alone");
    }
}
