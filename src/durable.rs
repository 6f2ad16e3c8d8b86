//! Replacing a small file so that after a kill or a power cut it is whole: the old one or the new one.
//!
//! What is needed to write is proved first, by [`Replacement::begin`], so that whoever cannot afford to
//! lose the new content finds out before there is any.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file beside the one to be replaced, with its owner and mode; removed when it is not used.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    new: PathBuf,
    file: File,
    used: bool,
}

impl Replacement {
    /// Gets ready to replace `path`; a link is followed. A file that is not there yet will be its user's
    /// alone.
    ///
    /// # Errors
    /// When nothing can be written beside it, or its owner and mode cannot be kept.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let (path, before) = match fs::canonicalize(path) {
            Ok(path) => {
                let meta = fs::metadata(&path)?;
                (path, Some(meta))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (path.to_owned(), None),
            Err(error) => return Err(error),
        };
        let Some(name) = path.file_name() else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let new = path.with_file_name(hidden);
        // Left by a process that was killed.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let replacement = Self {
            path,
            new,
            file,
            used: false,
        };
        if let Some(before) = before {
            let ours = replacement.file.metadata()?;
            if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
                fchown(&replacement.file, Some(before.uid()), Some(before.gid()))?;
            }
            let mode = Permissions::from_mode(before.mode() & 0o7777);
            replacement.file.set_permissions(mode)?;
        }
        Ok(replacement)
    }

    /// Takes so many bytes of the disk now, so that they are not missing later.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn reserve(mut self, bytes: usize) -> io::Result<Self> {
        self.file.write_all(&vec![0; bytes])?;
        self.file.sync_all()?;
        self.file.rewind()?;
        Ok(self)
    }

    /// Puts `bytes` in the place of the old file. On disk when this returns.
    ///
    /// # Errors
    /// When the disk refuses; the old file is there then, or both names are the new one's.
    pub fn commit(mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()?;
        fs::rename(&self.new, &self.path)?;
        self.used = true;
        // The name is on disk with its folder.
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.used {
            // At the worst it stays until the next replacement.
            let _ = fs::remove_file(&self.new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_new_content_takes_the_place_and_the_mode_of_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // As a kill leaves it.
        fs::write(dir.path().join(".token.new"), "half").unwrap();
        let place = Replacement::begin(&path).unwrap().reserve(4096).unwrap();
        place.commit(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(dir.path()), ["token"]);
    }

    #[test]
    fn a_file_that_was_not_there_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls");
        Replacement::begin(&path).unwrap().commit(b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_is_begun_and_not_committed_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        drop(Replacement::begin(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["token"]);
    }

    #[test]
    fn a_link_stays_and_the_file_behind_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Replacement::begin(&link).unwrap().commit(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
