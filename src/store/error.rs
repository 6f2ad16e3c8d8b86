//! What can go wrong with the store, in the words that a person gets.

use std::path::PathBuf;

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
}
