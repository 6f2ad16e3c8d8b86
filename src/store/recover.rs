//! Opening the store whatever state it is in: damage is moved aside, said, and rebuilt by a scan.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::Store;
use super::error::StoreError;
use super::record::Timestamp;

/// How many damaged databases are kept for a look.
const KEEP: usize = 3;
/// Beside the database: it was found damaged while in use.
const MARKER: &str = "damaged";

/// An open store, and what had to be done to open it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where a damaged one was moved, and why; its slots are compared and sent afresh.
    pub moved_aside: Option<(PathBuf, String)>,
}

/// Opens the store of `state_dir`, whose lock the caller holds.
///
/// # Errors
/// When the disk refuses or a newer version wrote the state; damage is no error.
pub fn open(state_dir: &Path) -> Result<Opened, StoreError> {
    let dir = state_dir.join("db");
    remove_half_written_snapshots(&dir);
    let why = match (state_dir.join(MARKER).exists(), try_open(&dir)) {
        (false, Ok(store)) => {
            return Ok(Opened {
                store,
                moved_aside: None,
            });
        }
        (_, Err(OpenError::Store(error @ StoreError::Newer { .. }))) => return Err(error),
        (true, _) => "a damaged record was found in it".to_owned(),
        (_, Err(OpenError::Store(error))) if is_the_disks(&error) => return Err(error),
        (_, Err(OpenError::Store(error))) => error.to_string(),
        (_, Err(OpenError::Panic)) => "sled panicked while opening it".to_owned(),
    };
    let aside = state_dir.join(format!("db.damaged-{}", Timestamp::now().0));
    let failed = |source| StoreError::Sync {
        dir: dir.clone(),
        source,
    };
    fs::rename(&dir, &aside).map_err(failed)?;
    remove_old(state_dir);
    let store = Store::open(&dir)?;
    // Last, so that a crash before this point repeats the move instead of trusting the damage.
    if let Err(error) = fs::remove_file(state_dir.join(MARKER))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    Ok(Opened {
        store,
        moved_aside: Some((aside, why)),
    })
}

/// Leaves word for the next start. A failure changes nothing: the damage will be met again.
pub(super) fn mark_damaged(dir: &Path) {
    if let Some(state_dir) = dir.parent() {
        let _ = fs::write(state_dir.join(MARKER), b"");
    }
}

enum OpenError {
    Store(StoreError),
    Panic,
}

fn try_open(dir: &Path) -> Result<Store, OpenError> {
    // sled 0.34 panics on some damage (spacejam/sled#1387); nothing of it is used after that.
    catch_unwind(AssertUnwindSafe(|| Store::open(dir)))
        .map_err(|_| OpenError::Panic)?
        .map_err(OpenError::Store)
}

/// Faults that another attempt may not meet and that moving the database would not mend.
fn is_the_disks(error: &StoreError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let kind = match error {
        StoreError::Sled {
            source: sled::Error::Io(source),
            ..
        }
        | StoreError::Sync { source, .. } => source.kind(),
        _ => return false,
    };
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

/// A snapshot cut short by a kill makes every open fail; sled writes it anew (spacejam/sled#1527).
fn remove_half_written_snapshots(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn remove_old(state_dir: &Path) {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut kept: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("db.damaged-"))
        })
        .collect();
    kept.sort();
    for old in kept.iter().rev().skip(KEEP) {
        let _ = fs::remove_dir_all(old);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{address, file, job};
    use super::super::record::{FileRecord, Seen, SlotRecord};
    use super::*;

    fn state_with_a_job() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap().store;
        let (place, job) = (address("B2"), job(1, "a"));
        let record = FileRecord {
            fingerprint: job.fingerprint,
            slot: Some(place.clone()),
            seen: Seen::Image {
                hash: job.hash,
                format: job.format,
            },
            at: Timestamp(1),
        };
        let put = |slot: &mut SlotRecord| slot.job = Some(job.clone());
        store
            .take_image(&file("a.png"), &record, &place, put)
            .unwrap();
        store.sync().unwrap();
        dir
    }

    #[test]
    fn a_healthy_store_is_opened_as_it_is() {
        let dir = state_with_a_job();
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.moved_aside, None);
        assert_eq!(opened.store.queued(), 1);
    }

    #[test]
    fn a_half_written_snapshot_does_not_hinder_the_opening() {
        let dir = state_with_a_job();
        fs::write(dir.path().join("db/snap.0000000000000010.generating"), b"x").unwrap();
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.moved_aside, None);
        assert_eq!(opened.store.queued(), 1);
    }

    #[test]
    fn a_store_that_cannot_be_opened_is_moved_aside_and_begun_anew() {
        let dir = state_with_a_job();
        fs::write(dir.path().join("db/conf"), [0x5a; 64]).unwrap();
        let opened = open(dir.path()).unwrap();
        let (aside, _) = opened.moved_aside.unwrap();
        assert!(aside.join("conf").exists());
        assert_eq!(opened.store.queued(), 0);
    }

    #[test]
    fn damage_found_in_use_leads_to_a_new_store_at_the_next_start() {
        let dir = state_with_a_job();
        mark_damaged(&dir.path().join("db"));
        assert!(open(dir.path()).unwrap().moved_aside.is_some());
        assert_eq!(open(dir.path()).unwrap().moved_aside, None);
    }

    #[test]
    fn only_the_latest_damaged_stores_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=5 {
            fs::create_dir(dir.path().join(format!("db.damaged-{n}"))).unwrap();
        }
        remove_old(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["db.damaged-3", "db.damaged-4", "db.damaged-5"]);
    }
}
