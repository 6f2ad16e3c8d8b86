//! A database written anew when it takes far more of the disk than what it holds.
//!
//! sled gives space back slowly: a file that has grown stays large. The new database is made beside the old one,
//! has to prove itself as at every start, and takes its place in one step, so that a kill or a power cut at
//! any moment leaves the old one or the new one, whole. Neither loses nor changes a record.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{IDS_FROM, Result, Store, open_db, read_meta};
use crate::store::error::StoreError;

/// Beside the database: the new one, or the old one once they have changed places.
const BESIDE: &str = "db.rewritten";
/// A smaller file is left as it is.
pub(in crate::store) const LEAST_BYTES: u64 = 64 << 20;
/// And so is one that is not so many times as large as it was when it was written anew.
const GROWN: u64 = 2;
/// Where in `meta` that size stands.
const SIZE: &str = "rewritten";

/// Moments at which everything may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Step {
    /// The new database is there and has not proved itself.
    Written,
    /// It has, and is on disk.
    Proved,
    /// It has taken the old one's place, which is beside it.
    Exchanged,
}

/// Removes what a rewriting that was cut short left.
pub(in crate::store) fn clear(state_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(state_dir.join(BESIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Store {
    /// The length of its file.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.0.log.metadata().map_or(0, |meta| meta.len())
    }

    /// Whether the file is much larger than it need be, and than `least` bytes.
    pub(in crate::store) fn is_wasteful(&self, least: u64) -> bool {
        let size = self.bytes();
        let written = read_meta::<u64>(&self.0.dir, &self.0.meta, SIZE);
        let written = written.ok().flatten().unwrap_or(0);
        size > least.max(written.saturating_mul(GROWN))
    }

    /// Writes the database anew and closes it; it is opened as any other. Asks after each step whether to go
    /// on. Whatever goes wrong, a whole database is in its place.
    ///
    /// # Errors
    /// When the disk refuses or the new database does not hold what the old one does; the old one is there.
    pub(in crate::store) fn rewrite(
        self,
        state_dir: &Path,
        goes_on: impl Fn(Step) -> bool,
    ) -> Result<()> {
        let (dir, beside) = (self.0.dir.clone(), state_dir.join(BESIDE));
        let failed = |source| StoreError::Sync {
            dir: dir.clone(),
            source,
        };
        clear(state_dir).map_err(failed)?;
        self.sync()?;
        let counts = self.write_to(&beside)?;
        if !goes_on(Step::Written) {
            return Ok(());
        }
        // Opening reads every slot and compares them with the tally.
        let new = Self::open(&beside, 0)?;
        let same = new.id() == self.id() && new.sequence()? == self.sequence()?;
        if !same || new.counts() != counts {
            return Err(StoreError::WentBack { dir: beside });
        }
        drop(new);
        if !goes_on(Step::Proved) {
            return Ok(());
        }
        drop(self);
        let exchanged = renameat_with(CWD, &dir, CWD, &beside, RenameFlags::EXCHANGE);
        exchanged.map_err(|error| failed(error.into()))?;
        let synced = File::open(state_dir).and_then(|folder| folder.sync_all());
        synced.map_err(failed)?;
        if goes_on(Step::Exchanged) {
            clear(state_dir).map_err(failed)?;
        }
        Ok(())
    }

    /// Copies all records as they are, in their order. Returns how many each tree has.
    fn write_to(&self, beside: &Path) -> Result<Vec<usize>> {
        let db = open_db(beside).map_err(|source| failed_in(beside, source))?;
        let mut counts = Vec::new();
        for (name, tree) in self.trees() {
            let new = db.open_tree(name);
            let new = new.map_err(|source| failed_in(beside, source))?;
            let mut count = 0;
            for entry in super::read::letting_go(tree, tree.iter()) {
                let (key, value) = entry.map_err(|source| self.failed(source))?;
                new.insert(key, value)
                    .map_err(|source| failed_in(beside, source))?;
                count += 1;
            }
            counts.push(count);
        }
        // A new database has more in it.
        counts.pop();
        let meta = db.open_tree("meta");
        let meta = meta.map_err(|source| failed_in(beside, source))?;
        db.flush().map_err(|source| failed_in(beside, source))?;
        let size = fs::metadata(beside.join("db")).map_or(0, |meta| meta.len());
        // Numbers that were given stay given.
        for (key, value) in [(SIZE, size), (IDS_FROM, self.next_id()?)] {
            let sealed = crate::store::envelope::seal(key.as_bytes(), 0, &value);
            let sealed = sealed.map_err(|_| StoreError::WentBack { dir: beside.into() })?;
            meta.insert(key, sealed)
                .map_err(|source| failed_in(beside, source))?;
        }
        // What it is called in its folder and what it holds is on disk once it is opened.
        db.flush().map_err(|source| failed_in(beside, source))?;
        Ok(counts)
    }

    /// `meta` is the last.
    fn trees(&self) -> [(&'static str, &sled::Tree); 6] {
        [
            ("files", &self.0.files),
            ("slots", &self.0.slots),
            ("queue", &self.0.queue),
            ("history", &self.0.history),
            ("rows", &self.0.rows),
            ("meta", &self.0.meta),
        ]
    }

    fn counts(&self) -> Vec<usize> {
        let mut counts: Vec<_> = self.trees().iter().map(|(_, tree)| tree.len()).collect();
        counts.pop();
        counts
    }
}

fn failed_in(dir: &Path, source: sled::Error) -> StoreError {
    StoreError::Sled {
        dir: dir.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::store::fixture::{address, file, job, settle, target};
    use crate::store::open;
    use crate::store::record::{FileRecord, Seen, SlotRecord, Timestamp};
    use crate::store::recover::open_on;

    /// Forty slots, each written three times, one job that waits, and what the database says of all of them.
    fn worn(state_dir: &Path) -> Store {
        let store = open(state_dir).unwrap().store;
        for turn in 0..121 {
            let place = address(&format!("B{}", turn % 40 + 1));
            let mut job = job(store.next_id().unwrap(), &format!("{turn}"));
            job.source = file(&format!("{}.png", turn % 40));
            let seen = Seen::Image {
                hash: job.hash,
                format: job.format,
                arrival: None,
            };
            let record = FileRecord {
                fingerprint: job.fingerprint,
                slot: Some(place.clone()),
                seen,
                at: Timestamp(1),
            };
            let offered = job.clone();
            let put = move |slot: &mut SlotRecord| slot.job = Some(offered.clone());
            store.take_image(&job.source, &record, &place, put).unwrap();
            if turn < 120 {
                let at = Timestamp(3);
                store.begin(&place, &job, at).unwrap();
                let written = store.written(&place, &job, &target(), None, at, at);
                settle(&store, written.unwrap());
            }
        }
        store.sync().unwrap();
        store
    }

    type Dump = Vec<Vec<(sled::IVec, sled::IVec)>>;

    fn dump(store: &Store) -> Dump {
        let all = |(_, tree): &(_, &sled::Tree)| tree.iter().map(|entry| entry.unwrap()).collect();
        store.trees()[..5].iter().map(all).collect()
    }

    #[rstest]
    #[case::to_the_end(None, true)]
    #[case::killed_when_written(Some(Step::Written), false)]
    #[case::killed_when_proved(Some(Step::Proved), false)]
    #[case::killed_when_exchanged(Some(Step::Exchanged), true)]
    fn whenever_it_ends_all_records_are_there(#[case] killed: Option<Step>, #[case] new: bool) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = worn(dir.path());
        for _ in 0..4 {
            // sled leaves out two millions at each.
            drop(store);
            store = open(dir.path()).unwrap().store;
        }
        let (before, id, number) = (dump(&store), store.id(), store.next_id().unwrap());
        store
            .rewrite(dir.path(), |step| Some(step) != killed)
            .unwrap();
        assert_eq!(dir.path().join(BESIDE).exists(), killed.is_some());
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert!(!dir.path().join(BESIDE).exists());
        let store = opened.store;
        assert_eq!((dump(&store), store.id()), (before, id));
        assert!(store.next_id().unwrap() > number);
        assert_eq!(store.queued(), 1);
        let size = read_meta::<u64>(&store.0.dir, &store.0.meta, SIZE).unwrap();
        assert_eq!(size.is_some(), new);
        assert!(!store.is_wasteful(LEAST_BYTES));
    }

    #[test]
    fn a_rewriting_that_fails_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = worn(dir.path());
        let before = dump(&store);
        // What a kill in the midst of writing leaves.
        fs::create_dir(dir.path().join(BESIDE)).unwrap();
        fs::write(dir.path().join(BESIDE).join("db"), vec![7; 100_000]).unwrap();
        drop(store);
        let store = open(dir.path()).unwrap().store;
        assert_eq!(dump(&store), before);
        // A new one that lost a record on its way, of which the tally knows nothing, does not take its place.
        let beside = dir.path().join(BESIDE);
        let lost = |step| {
            if step == Step::Written {
                let db = open_db(&beside).unwrap();
                db.open_tree("files").unwrap().pop_min().unwrap();
            }
            true
        };
        store.rewrite(dir.path(), lost).unwrap_err();
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.said, None);
        assert_eq!(dump(&opened.store), before);
    }

    #[test]
    fn a_start_that_writes_it_anew_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let store = worn(dir.path());
        let before = dump(&store);
        drop(store);
        let open = |least| open_on(dir.path(), None, least).unwrap();
        let opened = open(0);
        let rewritten = opened.rewritten.unwrap();
        assert!(rewritten.now.unwrap() <= rewritten.before);
        assert_eq!(dump(&opened.store), before);
        drop(opened.store);
        assert!(open(LEAST_BYTES).rewritten.is_none());
    }
}
