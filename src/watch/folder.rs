//! A mapped folder as the system has it: whether it is there, which one it is, and whether the kernel
//! tells of all its changes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Where a folder stands, for people and for readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FolderState {
    /// Not looked at yet.
    Starting,
    /// Changes are told by the kernel.
    Native,
    /// Changes are found by listing.
    Poll {
        /// Why not by the kernel.
        why: String,
    },
    /// It cannot be listed; it is waited for.
    Missing {
        /// What the system said.
        why: String,
    },
}

/// Which folder a path names. Device and inode alone are not enough: file systems give the number of
/// a removed folder to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

/// Looks at the folder.
pub(super) fn identify(folder: &Path) -> io::Result<Identity> {
    let meta = fs::metadata(folder)?;
    if !meta.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is not a folder",
        ));
    }
    // Permission to list it is asked here, where it is told, rather than seen as an empty folder.
    fs::read_dir(folder)?;
    Ok(Identity {
        device: meta.dev(),
        inode: meta.ino(),
        born: meta.created().ok(),
    })
}

/// File systems on which changes by other hosts or through the layer below fire no event, by the magic
/// numbers of statfs(2).
const SILENT: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The name of the folder's file system, when the kernel does not tell of all its changes.
pub(super) fn silent_file_system(folder: &Path) -> Option<&'static str> {
    let magic = rustix::fs::statfs(folder).ok()?.f_type;
    SILENT
        .iter()
        .find(|(known, _)| i64::from(*known) == magic)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_made_again_is_another_one_even_with_the_same_inode() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("in");
        fs::create_dir(&path).unwrap();
        let first = identify(&path).unwrap();
        assert_eq!(identify(&path).unwrap(), first);
        fs::remove_dir(&path).unwrap();
        assert_eq!(identify(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(&path).unwrap();
        assert_ne!(identify(&path).unwrap(), first);
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(
            identify(file.path()).unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
    }

    #[test]
    fn a_local_folder_tells_of_its_changes() {
        assert_eq!(
            silent_file_system(tempfile::tempdir().unwrap().path()),
            None
        );
    }
}
