//! Private copies of files that change faster than they can be sent.
//!
//! A file that is rewritten in place while it is sent ends its call, and over a slow link every call. So
//! once a call has ended like that, looks at the file copy what they hash, and the copy is sent, which
//! nobody can change. The file goes on like this until one of its versions is sent and still is the file.
//!
//! Bounded: [`MOST`] files at a time with one copy each, none longer than `max_bytes`. A copy has no name
//! (`O_TMPFILE`, open(2)), so that nothing of it is left behind whatever ends the process, and is made only
//! while [`SPARE`] bytes stay free beside it: a disk that is full would take no receipts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::ContentHash;
use crate::store::FileKey;

/// Files that have copies at a time.
const MOST: usize = 8;
/// Bytes that a copy leaves free on its disk.
const SPARE: u64 = 64 * 1024 * 1024;

/// The files that do not rest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Copies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    restless: Mutex<BTreeMap<FileKey, Option<Copy>>>,
}

#[derive(Debug, Clone)]
struct Copy {
    hash: ContentHash,
    file: Arc<File>,
}

/// A copy that is being made.
#[derive(Debug)]
pub struct Copying {
    file: File,
    /// The disk did not take it.
    broken: bool,
}

impl Copying {
    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.broken = self.broken || self.file.write_all(bytes).is_err();
    }
}

impl Copies {
    /// None yet; copies will be in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(Arc::new(Inner {
            folder: folder.to_owned(),
            restless: Mutex::default(),
        }))
    }

    /// The file changed while it was sent. Beyond 8 files nothing is noted: it is tried as it is.
    pub fn restless(&self, key: &FileKey) {
        self.with(|restless| {
            if restless.len() < MOST {
                restless.entry(key.clone()).or_default();
            }
        });
    }

    /// Whether this file did not rest.
    pub fn has(&self, key: &FileKey) -> bool {
        self.with(|restless| restless.contains_key(key))
    }

    /// A copy to be made of a file of so many bytes, when it is to have one.
    pub fn begin(&self, key: &FileKey, bytes: u64) -> Option<Copying> {
        if !self.has(key) {
            return None;
        }
        let disk = rustix::fs::statvfs(&self.0.folder).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let file = (free >= bytes.saturating_add(SPARE))
            .then(|| tempfile::tempfile_in(&self.0.folder))?
            .ok()?;
        Some(Copying {
            file,
            broken: false,
        })
    }

    /// A copy was made and holds what hashes to this; it takes the place of the one before.
    pub fn keep(&self, key: &FileKey, hash: ContentHash, copying: Copying) {
        if copying.broken {
            return;
        }
        let file = Arc::new(copying.file);
        self.with(|restless| {
            if let Some(copy) = restless.get_mut(key) {
                *copy = Some(Copy { hash, file });
            }
        });
    }

    /// The copy that holds what hashes to this.
    pub fn of(&self, key: &FileKey, hash: ContentHash) -> Option<Arc<File>> {
        self.with(|restless| {
            let copy = restless.get(key)?.as_ref()?;
            (copy.hash == hash).then(|| Arc::clone(&copy.file))
        })
    }

    /// A version was sent; `rests`: the file still is that version, and needs no copies any more.
    pub fn sent(&self, key: &FileKey, hash: ContentHash, rests: bool) {
        self.with(|restless| {
            if rests {
                restless.remove(key);
            } else if let Some(copy) = restless.get_mut(key) {
                copy.take_if(|copy| copy.hash == hash);
            }
        });
    }

    /// The file is gone, or is no picture of ours any more.
    pub fn forget(&self, key: &FileKey) {
        self.with(|restless| restless.remove(key));
    }

    fn with<R>(&self, look: impl FnOnce(&mut BTreeMap<FileKey, Option<Copy>>) -> R) -> R {
        look(
            &mut self
                .0
                .restless
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::file;

    #[test]
    fn only_files_that_did_not_rest_are_copied_and_no_more_than_a_few() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::new(folder.path());
        assert!(copies.begin(&file("0.png"), 3).is_none());
        for number in 0..=MOST {
            copies.restless(&file(&format!("{number}.png")));
        }
        assert!(copies.begin(&file("0.png"), 3).is_some());
        assert!(copies.begin(&file(&format!("{MOST}.png")), 3).is_none());
        copies.sent(&file("0.png"), ContentHash::of(b"abc"), true);
        assert!(copies.begin(&file("0.png"), 3).is_none());
        assert!(
            copies.begin(&file("1.png"), u64::MAX).is_none(),
            "the disk has no room"
        );
    }

    #[test]
    fn a_copy_is_found_by_its_content_and_leaves_nothing_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (copies, key) = (Copies::new(folder.path()), file("a.png"));
        copies.restless(&key);
        let mut copying = copies.begin(&key, 3).unwrap();
        copying.write(b"abc");
        let (this, other) = (ContentHash::of(b"abc"), ContentHash::of(b"abd"));
        copies.keep(&key, this, copying);
        assert!(copies.of(&key, this).is_some() && copies.of(&key, other).is_none());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        copies.sent(&key, this, false);
        assert!(copies.of(&key, this).is_none());
        assert!(
            copies.begin(&key, 3).is_some(),
            "the next one is copied, too"
        );
    }
}
