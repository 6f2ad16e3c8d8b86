//! One daemon a state directory: an advisory lock on a file that says who holds it.
//!
//! Taken before sled's own lock, whose error cannot be told from a broken disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lock, held until dropped or until the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The state directory.
    pub state_dir: PathBuf,
    /// What the holder wrote of itself, as `pid 4711, pixcell run`; empty when it could not.
    pub holder: String,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another instance has it.
    #[error(
        "another pixcell ({}) already uses the state directory {}; stop it first, or give this one a state_dir of its own",
        .0.holder, .0.state_dir.display()
    )]
    Held(Held),
    /// The lock file cannot be made.
    #[error("cannot lock the state directory: {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock of `state_dir` for the process that describes itself as `role`.
    ///
    /// # Errors
    /// At once, when another process has it or the file cannot be made; never waits.
    pub fn take(state_dir: &Path, role: &str) -> Result<Self, LockError> {
        let path = state_dir.join("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(state_dir, &mut file)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let name = format!("pid {}, {role}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(name.as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Whether nobody holds the lock of `state_dir` at this moment. Writes nothing.
    ///
    /// # Errors
    /// When another process has it, or the file cannot be read.
    pub fn is_free(state_dir: &Path) -> Result<(), LockError> {
        let path = state_dir.join("lock");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(LockError::Io { path, source }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(held(state_dir, &mut file)),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

fn held(state_dir: &Path, file: &mut File) -> LockError {
    let mut holder = String::new();
    // A holder that is only just starting may not have written its name yet.
    let _ = file.read_to_string(&mut holder);
    LockError::Held(Held {
        state_dir: state_dir.into(),
        holder: holder.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "pixcell run").unwrap();
        let Err(LockError::Held(held)) = Lock::take(dir.path(), "pixcell sync") else {
            panic!("the lock was given twice")
        };
        assert_eq!(
            held.holder,
            format!("pid {}, pixcell run", std::process::id())
        );
        assert!(Lock::is_free(dir.path()).is_err());
        drop(first);
        Lock::is_free(dir.path()).unwrap();
        Lock::take(dir.path(), "pixcell sync").unwrap();
    }
}
