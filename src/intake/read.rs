//! One look at one file: opened beneath its folder, recognised, checked for its end, hashed, and
//! checked again. Blocks; runs off the async runtime.
//!
//! A path is resolved below the folder's descriptor and never through a link (openat2(2)); only
//! regular files are read. What this says of a file is true of one moment in which it did not change.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use bytesize::ByteSize;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::image::{
    Completeness, ContentHash, Format, HEAD_BYTES, Hasher, Recognised, completeness, recognise,
};
use crate::placement::RelPath;
use crate::store::Fingerprint;

/// Read at a time while hashing, in bytes.
const CHUNK: usize = 128 * 1024;

/// What one look at a path found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// A whole image.
    Image {
        /// The file as it was before and after it was read.
        fingerprint: Fingerprint,
        /// Of its bytes.
        hash: ContentHash,
        /// Its format.
        format: Format,
    },
    /// A file whose container does not tell its end, and that has not settled yet.
    Unsettled(Fingerprint),
    /// It changed while it was read.
    Changed,
    /// Complete, and nothing to send.
    Rejected {
        /// The file.
        fingerprint: Fingerprint,
        /// For people.
        reason: String,
    },
    /// Not complete, or not readable now.
    Held {
        /// The file.
        fingerprint: Fingerprint,
        /// For people.
        reason: String,
    },
    /// There is no file of that name.
    Gone,
    /// A folder, link, socket or device: nothing of ours.
    NoFile,
}

/// Opens a regular file below `folder` for reading, never through a link, never waiting for a writer.
///
/// # Errors
/// Of the system. A link in any part is `ELOOP`.
pub fn open_beneath(folder: &Path, path: &RelPath) -> io::Result<File> {
    let root = openat(
        CWD,
        folder,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let how =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, path.as_path(), how, Mode::empty(), beneath) {
        Err(Errno::NOSYS) => open_part_by_part(root, path, how),
        opened => Ok(opened?.into()),
    }
}

/// The same for kernels before 5.6.
fn open_part_by_part(root: rustix::fd::OwnedFd, path: &RelPath, how: OFlags) -> io::Result<File> {
    let mut parts = path.as_path().components().peekable();
    let mut folder = root;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return Ok(openat(&folder, part.as_os_str(), how, Mode::empty())?.into());
        }
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        folder = openat(&folder, part.as_os_str(), step, Mode::empty())?;
    }
    Err(ErrorKind::NotFound.into())
}

/// Looks at a file. `quiet_as` is the fingerprint it had at an earlier look, a settling time ago.
pub fn look(
    folder: &Path,
    path: &RelPath,
    max_bytes: u64,
    quiet_as: Option<Fingerprint>,
) -> Looked {
    // Opening a device or a pipe can have effects; a name that is none of ours is not opened.
    let named = match folder.join(path.as_path()).symlink_metadata() {
        Ok(meta) if !meta.is_file() => return Looked::NoFile,
        Ok(meta) => Fingerprint::of(&meta),
        Err(error) => return cannot(&error, Fingerprint::UNKNOWN),
    };
    let mut file = match open_beneath(folder, path) {
        Ok(file) => file,
        Err(error) => return cannot(&error, named),
    };
    let before = match file.metadata() {
        Ok(meta) if !meta.is_file() => return Looked::NoFile,
        Ok(meta) => Fingerprint::of(&meta),
        Err(error) => return cannot(&error, named),
    };
    let found = match examine(&mut file, before, max_bytes, quiet_as) {
        Ok(found) => found,
        Err(error) => return cannot(&error, before),
    };
    // The descriptor for changes of content, the name for a replacement.
    let after = file.metadata().map(|meta| Fingerprint::of(&meta));
    let named = folder.join(path.as_path()).symlink_metadata();
    match (after, named.map(|meta| Fingerprint::of(&meta))) {
        (Ok(after), Ok(named)) if after == before && named == before => found,
        _ => Looked::Changed,
    }
}

fn cannot(error: &io::Error, fingerprint: Fingerprint) -> Looked {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle => Looked::Gone,
        ErrorKind::NotADirectory | ErrorKind::CrossesDevices => Looked::NoFile,
        // A link: NOFOLLOW and NO_SYMLINKS answer this, and so does a real loop.
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Looked::NoFile,
        ErrorKind::PermissionDenied => Looked::Held {
            fingerprint,
            reason: "it may not be read; give pixcell's user permission to read it".into(),
        },
        _ => Looked::Held {
            fingerprint,
            reason: format!("it cannot be read: {error}"),
        },
    }
}

fn examine(
    file: &mut File,
    fingerprint: Fingerprint,
    max_bytes: u64,
    quiet_as: Option<Fingerprint>,
) -> io::Result<Looked> {
    let rejected = |reason: String| {
        Ok(Looked::Rejected {
            fingerprint,
            reason,
        })
    };
    let held = |reason: String| {
        Ok(Looked::Held {
            fingerprint,
            reason,
        })
    };
    if fingerprint.size == 0 {
        return held("it is empty".into());
    }
    if fingerprint.size > max_bytes {
        return rejected(format!(
            "it is {} large, more than the {} that max_bytes allows",
            ByteSize(fingerprint.size).display().iec(),
            ByteSize(max_bytes).display().iec()
        ));
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let format = match recognise(&head) {
        Recognised::Accepted(format) => format,
        Recognised::Other(kind) => {
            return rejected(format!(
                "its content is {kind}, not an image that the API takes"
            ));
        }
    };
    file.rewind()?;
    let end = completeness(
        format,
        &mut BufReader::with_capacity(CHUNK, &*file),
        fingerprint.size,
    )?;
    match end {
        Completeness::Complete => {}
        Completeness::Incomplete(what) => return held(what),
        Completeness::Unknowable if quiet_as == Some(fingerprint) => {}
        Completeness::Unknowable => return Ok(Looked::Unsettled(fingerprint)),
    }
    file.rewind()?;
    Ok(Looked::Image {
        fingerprint,
        hash: hash(file)?,
        format,
    })
}

fn hash(file: &mut File) -> io::Result<ContentHash> {
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&chunk[..read]),
        }
    }
}
