//! A mapped folder as the system has it: whether it is there, which one it is, and whether the kernel
//! tells of all its changes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};

/// Where a folder stands, for people and for readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FolderState {
    /// Not looked at yet.
    Starting,
    /// Changes are told by the kernel.
    Native {
        /// What of it could not be listed, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unseen: Option<String>,
    },
    /// Changes are found by listing.
    Poll {
        /// Why not by the kernel.
        why: String,
        /// As above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unseen: Option<String>,
    },
    /// The file system does not answer, as a share whose server is gone. It is waited for.
    Stuck {
        /// What it was asked for.
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
    // Permission to list it and to reach its files is asked here, where it is told, rather than seen as an
    // empty folder. Asked for and not tried: opening it would be an event of its own for whoever watches it.
    accessat(
        CWD,
        folder,
        Access::READ_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )?;
    Ok(Identity {
        device: meta.dev(),
        inode: meta.ino(),
        born: meta.created().ok(),
    })
}

/// File systems on which changes by other hosts or through the layer below fire no event, by the magic
/// numbers of statfs(2) and of the kernel's `include/uapi/linux/magic.h`.
const SILENT: [(u32, &str); 14] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7375_7245, "Coda"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x786f_4256, "a folder shared by VirtualBox"),
    (0x4750_4653, "GPFS"),
];

/// File systems of this machine alone, all of whose changes the kernel tells.
const LOCAL: [u32; 20] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x2fc1_2fc1, // ZFS
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x4d44,      // FAT
    0x2011_bab0, // exFAT
    0x7366_746e, // NTFS (ntfs3)
    0x5346_544e, // NTFS
    0x5265_4973, // ReiserFS
    0x3153_464a, // JFS
    0x3434,      // NILFS
    0x2405_1905, // UBIFS
    0x72b6,      // JFFS2
    0x1501_3346, // UDF
    0x9660,      // ISO 9660
    0x482b,      // HFS+
];

/// overlayfs tells of what is changed through it, and not of changes in its layers.
const OVERLAY: u32 = 0x794c_7630;

/// Why the kernel does not tell of all changes in this folder; `None` when it does.
pub(super) fn silent_file_system(folder: &Path) -> Option<String> {
    let magic = magic(folder)?;
    if magic != OVERLAY {
        return silence_of(magic);
    }
    let device = fs::metadata(folder).ok()?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // A layer of a container's image cannot be reached from inside, nor can anybody there change it.
    let mut silent = layers(&mounts, device)
        .into_iter()
        .filter_map(|layer| silence_of(magic_of_layer(&layer)?));
    silent
        .next()
        .map(|why| format!("in a layer of the overlay, {why}"))
}

fn magic(path: &Path) -> Option<u32> {
    // 32 bits, whose sign some architectures extend.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let magic = rustix::fs::statfs(path).ok()?.f_type as u32;
    Some(magic)
}

fn magic_of_layer(layer: &str) -> Option<u32> {
    magic(Path::new(layer)).filter(|&magic| magic != OVERLAY)
}

fn silence_of(magic: u32) -> Option<String> {
    if LOCAL.contains(&magic) {
        return None;
    }
    let known = SILENT.iter().find(|(known, _)| *known == magic);
    Some(known.map_or_else(
        || format!("file system type {magic:#x} is not known to tell of all changes"),
        |(_, name)| format!("{name} does not tell of all changes"),
    ))
}

/// The layers of the overlay with this device number, by the text of `/proc/self/mountinfo`
/// (`proc_pid_mountinfo(5)`).
fn layers(mounts: &str, device: u64) -> Vec<String> {
    let id = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let ours = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&id));
    let options = ours.and_then(|line| line.rsplit(' ').next()).unwrap_or("");
    options
        .split(',')
        .filter_map(|option| option.split_once('='))
        .filter(|(name, _)| matches!(*name, "lowerdir" | "lowerdir+" | "upperdir"))
        .flat_map(|(_, paths)| paths.split(':'))
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect()
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

    #[test]
    fn network_file_systems_and_unknown_ones_are_silent() {
        assert_eq!(
            silence_of(0x6969).unwrap(),
            "NFS does not tell of all changes"
        );
        assert!(silence_of(0x1234_5678).unwrap().contains("0x12345678"));
        assert_eq!(silence_of(0xef53), None);
    }

    #[test]
    fn the_layers_of_an_overlay_are_read_from_the_list_of_mounts() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            61 22 0:45 / /merged rw,relatime shared:1 - overlay overlay \
            rw,lowerdir=/a:/b,upperdir=/c/up,workdir=/c/work,uuid=on\n";
        let layers = |major, minor| layers(mounts, rustix::fs::makedev(major, minor));
        assert_eq!(layers(0, 45), ["/a", "/b", "/c/up"]);
        assert!(layers(254, 0).is_empty() && layers(9, 9).is_empty());
    }
}
