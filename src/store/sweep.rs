//! Has sled give space in its file back while it is used. Knows nothing of what is recorded.
//!
//! sled appends to half-megabyte segments and uses one again when nothing in it is of use any more. From one that is
//! more than half of no use it moves the rest away, one page with each page that it writes whole. That is
//! too slow for records of many files that change in no order (measured: four fifths of the file were of no
//! use), and sled's own thread, which does the remainder, is off: see the flusher. So a page of our own is
//! changed until sled writes it whole, again and again.

use std::fs::File;

use sled::{Db, Tree};

/// A smaller file is left alone: what it could shrink by is not worth a write.
pub(super) const LEAST_BYTES: u64 = 16 << 20;
/// As many changes of a page has sled keep beside it before it writes the page whole (its
/// `PAGE_CONSOLIDATION_THRESHOLD`).
const CHANGES: usize = 10;
/// So many steps of transactions pay for one page that is moved. A picture takes three steps and some 3 kB of
/// the file; a page has some 2 kB. Measured with 20,000 files rewritten three times, counted in transactions:
/// 52 MB without, 29 MB with a page for 4 of them, 19 MB for 2 and 15 MB for 1, with 11, 26 and 42 % more bytes
/// written.
const STEPS: usize = 2;

/// Moves pages in one database.
#[derive(Debug)]
pub(super) struct Sweep {
    page: Tree,
    least: u64,
    /// Steps that are not paid for yet.
    steps: usize,
    change: u8,
}

impl Sweep {
    /// Of this database; a file of up to `least` bytes is left alone.
    pub fn new(db: &Db, least: u64) -> sled::Result<Self> {
        Ok(Self {
            page: db.open_tree("sweep")?,
            least,
            steps: 0,
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
        self.steps = self.steps.saturating_add(steps);
        while self.steps >= STEPS && goes_on() {
            self.steps -= STEPS;
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

    /// Megabytes of the file after records have been written again and again, in no order.
    fn rewritten(least: u64) -> u64 {
        const RECORDS: u64 = 3_000;
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
            if turn % 200 == 0 {
                sweep.pay(&log, 600, || true);
                db.flush().unwrap();
            }
        }
        log.metadata().unwrap().len() >> 20
    }

    #[test]
    fn a_file_that_is_swept_is_not_much_larger_than_what_it_holds() {
        let (swept, left) = (rewritten(0), rewritten(u64::MAX));
        println!("{swept} MiB swept, {left} MiB left alone");
        assert!(swept * 2 <= left, "{swept} MiB swept, {left} left alone");
    }
}
