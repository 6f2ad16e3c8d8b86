//! What was found in each file, in 16 bytes a file: enough to tell of a listed file that nothing is new.
//!
//! A copy in memory of what the tree `files` says, so that a listing reads no record. A mapping's copy is read
//! from the tree when it is first asked for; from then on every transaction changes both. An orderly end leaves
//! the copies beside the database, and the next start takes them up when nothing was recorded since: it may
//! change nothing but how long a start takes.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::envelope;
use super::record::{FileRecord, Fingerprint};
use crate::config::MappingName;
use crate::durable::Replacement;
use crate::placement::{RelPath, SlotAddress};

/// The file, in the state directory.
const NAME: &str = "known";
/// What its checksum covers beside the content.
const KEY: &[u8] = b"known";

/// Stands for a path. Two paths of one mapping with the same number cost a look too many, or hide that one
/// of them was deleted, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PathHash(u64);

impl PathHash {
    /// Of this path.
    pub fn of(path: &RelPath) -> Self {
        Self(hash_of(path.as_bytes()))
    }
}

/// By paths' hashes, which need no further hashing.
type ByPath<T> = HashMap<PathHash, T, BuildHasherDefault<AsItIs>>;

/// Paths' hashes.
pub type PathHashes = HashSet<PathHash, BuildHasherDefault<AsItIs>>;

/// Hands a number on as its hash.
#[derive(Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Stands for a file as it is and the slot that its rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest(u64);

impl Digest {
    pub fn of(fingerprint: &Fingerprint, slot: Option<&SlotAddress>) -> Self {
        Self(hash_of(&(fingerprint, slot)))
    }

    pub fn of_record(record: &FileRecord) -> Self {
        Self::of(&record.fingerprint, record.slot.as_ref())
    }
}

/// The same in every run of one build; another build that hashes otherwise looks into the records.
fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// One change of a file's record; without a digest it was removed.
pub(super) type Change = (MappingName, PathHash, Option<Digest>);

/// The copies, by mapping.
#[derive(Debug, Default)]
pub(super) struct Known {
    copies: Mutex<Copies>,
    /// Held while a copy is read from the tree.
    reading: Mutex<()>,
}

/// Those that are there. Whoever holds them keeps transactions from ending.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<MappingName, Copy>);

#[derive(Debug, Default)]
struct Copy {
    files: ByPath<Digest>,
    /// While it is being read: what changed meanwhile, of which the reader may have seen an older record.
    changed: Option<PathHashes>,
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    stand: Stand,
    copies: Vec<(MappingName, Vec<(PathHash, Digest)>)>,
}

/// Of which moment of which database copies are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stand {
    /// Which build: what it hashes, and how.
    pub build: String,
    /// Which database.
    pub store: u64,
    /// The last run that wrote to it.
    pub epoch: u64,
    /// Its latest transaction.
    pub sequence: u64,
}

impl Known {
    /// Held for a transaction and what it changes here, so that both have one order.
    pub fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the mapping's copy is there, by `read` if need be, which gives all its records.
    pub fn ensure<E>(
        &self,
        mapping: &MappingName,
        read: impl FnOnce() -> Result<Vec<(PathHash, Digest)>, E>,
    ) -> Result<(), E> {
        if self.copies().is_whole(mapping) {
            return Ok(());
        }
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.copies().is_whole(mapping) {
            return Ok(());
        }
        let begun = Copy {
            changed: Some(PathHashes::default()),
            ..Copy::default()
        };
        // What a failed reading left behind goes.
        self.copies().0.insert(mapping.clone(), begun);
        let records = read()?;
        if let Some(copy) = self.copies().0.get_mut(mapping) {
            let changed = copy.changed.take().unwrap_or_default();
            copy.files.reserve(records.len());
            for (path, digest) in records {
                if !changed.contains(&path) {
                    copy.files.insert(path, digest);
                }
            }
        }
        Ok(())
    }

    /// Leaves the copies for the next start.
    pub fn keep(&self, state_dir: &Path, stand: Stand) -> io::Result<()> {
        let copies = self.copies();
        let whole = copies.0.iter().filter(|(_, copy)| copy.changed.is_none());
        let files = |(mapping, copy): (&MappingName, &Copy)| {
            let files = copy.files.iter().map(|(path, digest)| (*path, *digest));
            (mapping.clone(), files.collect())
        };
        let kept = Kept {
            copies: whole.map(files).collect(),
            stand,
        };
        drop(copies);
        let sealed = envelope::seal(KEY, 0, &kept).map_err(io::Error::other)?;
        Replacement::begin(&state_dir.join(NAME))?.commit(&sealed)
    }

    /// Takes up what an orderly end at `stand` left. Anything else is as good as nothing.
    pub fn take_up(&self, state_dir: &Path, stand: &Stand) {
        let kept = fs::read(state_dir.join(NAME)).ok();
        let kept = kept.and_then(|bytes| envelope::unseal::<Kept>(KEY, &bytes).ok());
        let Some(kept) = kept.filter(|kept| kept.stand == *stand) else {
            return;
        };
        let copy = |files: Vec<_>| Copy {
            files: files.into_iter().collect(),
            changed: None,
        };
        let copies = kept.copies.into_iter();
        *self.copies() = Copies(copies.map(|(name, files)| (name, copy(files))).collect());
    }
}

impl Copies {
    fn is_whole(&self, mapping: &MappingName) -> bool {
        let copy = self.0.get(mapping);
        copy.is_some_and(|copy| copy.changed.is_none())
    }

    /// Follows a transaction.
    pub fn change(&mut self, changes: Vec<Change>) {
        for (mapping, path, digest) in changes {
            let Some(copy) = self.0.get_mut(&mapping) else {
                continue;
            };
            match digest {
                Some(digest) => copy.files.insert(path, digest),
                None => copy.files.remove(&path),
            };
            if let Some(changed) = &mut copy.changed {
                changed.insert(path);
            }
        }
    }

    /// What is known of a file; the mapping's copy must be there.
    pub fn get(&self, mapping: &MappingName, path: PathHash) -> Option<Digest> {
        self.0.get(mapping)?.files.get(&path).copied()
    }

    /// Whether all files of the mapping are among those that `met` knows; `false` without a copy.
    pub fn all(&self, mapping: &MappingName, met: impl Fn(PathHash) -> bool) -> bool {
        let copy = self.0.get(mapping).filter(|copy| copy.changed.is_none());
        copy.is_some_and(|copy| copy.files.keys().all(|path| met(*path)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{address, file, job};
    use super::super::record::{FileKey, Seen, Timestamp};
    use super::super::{Placed, Store, open};
    use super::*;

    fn record(name: &str, size: u64) -> (FileKey, FileRecord) {
        let job = job(1, name);
        let seen = Seen::Image {
            hash: job.hash,
            format: job.format,
            arrival: None,
        };
        let record = FileRecord {
            fingerprint: Fingerprint {
                size,
                ..job.fingerprint
            },
            slot: Some(address("B2")),
            seen,
            at: Timestamp(1),
        };
        (file(name), record)
    }

    fn put(store: &Store, name: &str, size: u64) {
        let (key, record) = record(name, size);
        store
            .take_image(&key, &record, &address("B2"), |_| ())
            .unwrap();
    }

    fn is_unchanged(store: &Store, name: &str, size: u64, placed: Placed<'_>) -> bool {
        let (key, record) = record(name, size);
        let asked = [(&key.path, &record.fingerprint, placed)];
        store.unchanged(&key.mapping, asked).unwrap()[0]
    }

    fn is_there(store: &Store) -> bool {
        store.known().copies().is_whole(&file("a.png").mapping)
    }

    #[test]
    fn a_file_is_unchanged_while_it_and_its_slot_are_those_of_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap().store;
        let (here, there) = (address("B2"), address("C3"));
        put(&store, "a.png", 3);
        // The first question reads the records, what follows changes the copy.
        for round in 0..2 {
            for (name, size, placed, same) in [
                ("a.png", 3, Placed::In(&here), true),
                ("a.png", 4, Placed::In(&here), false),
                ("a.png", 3, Placed::In(&there), false),
                ("a.png", 3, Placed::Without, false),
                ("a.png", 3, Placed::Nowhere, false),
                ("other.png", 3, Placed::In(&here), false),
                ("other.png", 3, Placed::Without, false),
                ("other.png", 3, Placed::Nowhere, true),
            ] {
                let found = is_unchanged(&store, name, size, placed);
                assert_eq!(found, same, "{round}: {name} {size} {placed:?}");
            }
            put(&store, "a.png", 4);
            put(&store, "a.png", 3);
        }
        let (key, record) = record("a.png", 3);
        store.set_unreadable(&key, &record).unwrap();
        assert!(!is_unchanged(&store, "a.png", 3, Placed::In(&here)));
        put(&store, "a.png", 3);
        store.forget(&key, None, Timestamp(2)).unwrap();
        assert!(!is_unchanged(&store, "a.png", 3, Placed::In(&here)));
    }

    #[test]
    fn what_a_listing_did_not_meet_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap().store;
        put(&store, "a.png", 3);
        put(&store, "b.png", 3);
        let (a, b) = (file("a.png"), file("b.png"));
        let met = |met: Vec<PathHash>| {
            let all = store.all_met(&a.mapping, |path| met.contains(&path));
            all.unwrap()
        };
        let [a_hash, b_hash] = [&a, &b].map(|file| PathHash::of(&file.path));
        assert!(met(vec![a_hash, b_hash]));
        assert!(!met(vec![a_hash]));
        store.forget(&b, None, Timestamp(2)).unwrap();
        assert!(met(vec![a_hash]));
    }

    #[test]
    fn what_changes_while_the_records_are_read_counts() {
        let known = Known::default();
        let mapping = file("a.png").mapping;
        let [a, b, c] = ["a", "b", "c"].map(|name| PathHash::of(&file(name).path));
        let read = || {
            let changes = [(a, Some(Digest(2))), (b, None)];
            let changes = changes.map(|(path, digest)| (mapping.clone(), path, digest));
            known.copies().change(changes.into());
            Ok::<_, ()>([a, b, c].map(|path| (path, Digest(1))).into())
        };
        known.ensure(&mapping, read).unwrap();
        let found = [a, b, c].map(|path| known.copies().get(&mapping, path));
        assert_eq!(found, [Some(Digest(2)), None, Some(Digest(1))]);
        // And once it is there it is not read again.
        known.ensure(&mapping, || Err(())).unwrap();
    }

    #[test]
    fn an_orderly_end_spares_the_next_start_the_records_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let here = address("B2");
        let start = || open(dir.path()).unwrap().store;
        let store = start();
        put(&store, "a.png", 3);
        assert!(!is_there(&store));
        assert!(is_unchanged(&store, "a.png", 3, Placed::In(&here)));
        assert!(is_there(&store));
        store.leave().unwrap();
        drop(store);
        let store = start();
        assert!(is_there(&store));
        assert!(is_unchanged(&store, "a.png", 3, Placed::In(&here)));
        // Killed: what was left is of an earlier run, also when nothing was recorded.
        drop(store);
        assert!(!is_there(&start()));
        // Recorded after it.
        let store = start();
        assert!(is_unchanged(&store, "a.png", 3, Placed::In(&here)));
        store.leave().unwrap();
        put(&store, "a.png", 4);
        drop(store);
        let store = start();
        assert!(!is_there(&store));
        assert!(!is_unchanged(&store, "a.png", 3, Placed::In(&here)));
        // Damaged.
        store.leave().unwrap();
        drop(store);
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(!is_there(&start()));
    }
}
