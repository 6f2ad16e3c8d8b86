//! What can go wrong with the store, in the words that a person gets.

use std::path::PathBuf;
use std::time::Duration;

use super::db::SCHEMA;
use super::envelope::Damage;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or sled failed.
    #[error("the store in {} failed: {source}; check the disk's space and health", dir.display())]
    Sled {
        /// The database's folder.
        dir: PathBuf,
        /// What sled said.
        source: sled::Error,
    },
    /// The operating system refused to write through to the disk.
    #[error("the store in {} could not be written through to disk: {source}", dir.display())]
    Sync {
        /// The database's folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record does not prove itself.
    #[error("a record of `{tree}` in {} is damaged: {damage}; it is rebuilt at the next start", dir.display())]
    Damaged {
        /// The database's folder.
        dir: PathBuf,
        /// The tree.
        tree: &'static str,
        /// In which way.
        damage: Damage,
    },
    /// A newer pixcell wrote this.
    #[error(
        "the state in {} has schema version {found}, this pixcell knows {SCHEMA}; start the newer version, or move the directory away (the cells are then compared afresh)",
        dir.display()
    )]
    Newer {
        /// The database's folder.
        dir: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The slots are not those of the latest transaction.
    #[error("the store in {} holds old values: what was recorded later is lost", dir.display())]
    WentBack {
        /// The database's folder.
        dir: PathBuf,
    },
    /// The files were deleted or replaced while they were in use.
    #[error(
        "the store's files in {} were deleted or replaced while in use; nothing more is recorded or sent; at the next start a new store compares every folder afresh",
        dir.display()
    )]
    Gone {
        /// The database's folder.
        dir: PathBuf,
    },
    /// sled does not come back.
    #[error(
        "the store in {} could not be opened within {} s; the next start moves it aside and builds it anew from the folders",
        dir.display(), limit.as_secs()
    )]
    Stuck {
        /// The database's folder.
        dir: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl StoreError {
    /// Whether the disk is at fault, and not what is on it: another attempt may succeed, and a new
    /// database would fare no better.
    pub fn is_the_disks(&self) -> bool {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let kind = match self {
            Self::Sled {
                source: sled::Error::Io(source),
                ..
            }
            | Self::Sync { source, .. } => source.kind(),
            _ => return false,
        };
        // sled's word for a database that is still open elsewhere; it has no kind of its own.
        self.to_string().contains("could not acquire lock")
            || matches!(
                kind,
                PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
            )
    }
}
