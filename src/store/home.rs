//! The state directory: made private, and refused where a database would not be safe or not be ours.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{geteuid, umask};

/// What kind of file system the state is on, by the numbers of statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Firm,
    /// Locks and writes through are weaker (spacejam/sled#1351).
    Soft(&'static str),
    /// Another machine or process stands between us and the disk.
    Swamp(&'static str),
}

fn ground(magic: u64) -> Ground {
    match magic {
        0x6969 => Ground::Swamp("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Ground::Swamp("SMB"),
        0x6573_5546 => Ground::Swamp("FUSE"),
        0x9123_683e => Ground::Soft("btrfs"),
        _ => Ground::Firm,
    }
}

/// Makes `dir` where it is missing and closes it to others; from now on the process makes files that are
/// its user's alone. Returns a warning.
///
/// # Errors
/// When it cannot be made, belongs to another user, is reached by another user's link, or is on a network
/// file system; each with the reason.
pub fn prepare(dir: &Path) -> io::Result<Option<String>> {
    umask(Mode::from_raw_mode(0o077));
    let us = geteuid().as_raw();
    let refuse = |kind, why: String| Err(io::Error::new(kind, why));
    if let Ok(link) = fs::symlink_metadata(dir)
        && link.is_symlink()
        && ![0, us].contains(&link.uid())
    {
        return refuse(
            ErrorKind::PermissionDenied,
            format!("it is a link that user {} made", link.uid()),
        );
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let meta = fs::metadata(dir)?;
    if meta.uid() != us {
        return refuse(
            ErrorKind::PermissionDenied,
            format!(
                "it belongs to user {}, and pixcell runs as user {us}; run it as that user, or chown the \
                 directory",
                meta.uid()
            ),
        );
    }
    for name in ["db", "lock", "generation"] {
        let path = dir.join(name);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_symlink() || meta.uid() != us {
            return refuse(
                ErrorKind::PermissionDenied,
                format!("{} is a link or belongs to another user", path.display()),
            );
        }
    }
    let magic = rustix::fs::statfs(dir)?.f_type.cast_unsigned();
    let warning = match ground(magic) {
        Ground::Firm => None,
        Ground::Soft(name) => Some(format!(
            "the state directory {} is on {name}, where a power cut may take back what was recorded; ext4 \
             or xfs are safer",
            dir.display()
        )),
        Ground::Swamp(name) => {
            return refuse(
                ErrorKind::Unsupported,
                format!(
                    "it is on {name}, where a database is not safe; set state_dir to a local disk"
                ),
            );
        }
    };
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(warning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn the_directory_and_what_is_made_in_it_are_for_its_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/state");
        assert_eq!(prepare(&dir).unwrap(), None);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        prepare(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        drop(crate::store::open(&dir).unwrap());
        for name in ["db", "db/db", "db/conf", "generation"] {
            let mode = fs::metadata(dir.join(name)).unwrap().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn a_planted_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        prepare(&dir).unwrap();
        symlink("/etc", dir.join("db")).unwrap();
        assert!(prepare(&dir).unwrap_err().to_string().contains("is a link"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let (theirs, link) = (home.path().join("theirs"), home.path().join("link"));
        fs::create_dir(&theirs).unwrap();
        symlink(home.path(), &link).unwrap();
        for path in [&theirs, &link] {
            lchown(path, Some(12_345), None).unwrap();
            let refused = prepare(path).unwrap_err();
            assert!(refused.to_string().contains("user 12345"), "{refused}");
        }
    }

    #[rstest]
    #[case::nfs(0x6969, Ground::Swamp("NFS"))]
    #[case::cifs(0xff53_4d42, Ground::Swamp("SMB"))]
    #[case::smb2(0xfe53_4d42, Ground::Swamp("SMB"))]
    #[case::fuse(0x6573_5546, Ground::Swamp("FUSE"))]
    #[case::btrfs(0x9123_683e, Ground::Soft("btrfs"))]
    #[case::ext4(0xef53, Ground::Firm)]
    #[case::tmpfs(0x0102_1994, Ground::Firm)]
    fn the_ground_is_told_by_its_number(#[case] magic: u64, #[case] expected: Ground) {
        assert_eq!(ground(magic), expected);
    }
}
