//! One look at one file: opened beneath its folder, recognised, checked for its end, hashed, and
//! checked again. Blocks; runs off the async runtime.
//!
//! A path is resolved below the folder's descriptor and never through a link (openat2(2)). It is
//! first taken hold of without being opened (`O_PATH`), and only a regular file is opened then, by
//! that hold and not by its name: whatever takes the name meanwhile, no pipe or device is opened and no
//! link followed. What this says of a file is true of one moment in which it did not change.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytesize::ByteSize;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{
    Advice, CWD, FileType, Mode, OFlags, ResolveFlags, SeekFrom, fadvise, fstat, open, openat,
    openat2, seek,
};
use rustix::io::Errno;

use super::copies::Copying;
use super::readers::Beat;
use crate::image::{
    Completeness, ContentHash, Format, HEAD_BYTES, Hasher, Recognised, completeness, recognise,
};
use crate::placement::RelPath;
use crate::store::Fingerprint;

/// Read at a time while hashing, in bytes.
const CHUNK: usize = 128 * 1024;
/// What file systems set aside at a time, in bytes, or a multiple of it.
const PAGE: usize = 4096;

/// What is known of a file's writer before a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing against its being done.
    Unknown,
    /// It goes on writing without a pause and has not closed the file: a container that is whole may be
    /// half the old and half the new.
    Restless,
    /// The file was looked at a settling time ago, and was this. If it still is, it has settled.
    QuietAs(Fingerprint),
}

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
    /// A file that cannot tell whether it is whole, and that has not settled yet.
    Unsettled(Fingerprint),
    /// It changed while it was read, or somebody else has it for the moment.
    Changed,
    /// Complete, and nothing to send.
    Rejected {
        /// The file.
        fingerprint: Fingerprint,
        /// For people.
        reason: String,
    },
    /// Not complete.
    Held {
        /// The file.
        fingerprint: Fingerprint,
        /// For people.
        reason: String,
    },
    /// It cannot be read for now; for people, why. Says nothing of its content.
    Unreadable(String),
    /// There is no file of that name.
    Gone,
    /// A folder, link, socket or device: nothing of ours.
    NoFile,
}

/// Opens a regular file below `folder` for reading, never through a link, never waiting for a writer.
///
/// # Errors
/// Of the system. A link in any part is `ELOOP`; what is no regular file is `InvalidInput`; a file that
/// another program has leased (fcntl(2), `F_SETLEASE`) is `WouldBlock` until that one gives way.
pub fn open_beneath(folder: &Path, path: &RelPath) -> io::Result<File> {
    open_held(&hold(top(folder)?, path)?)
}

/// Takes hold of a mapped folder. It may be a link itself: whoever configured it chose where it points to.
fn top(folder: &Path) -> io::Result<OwnedFd> {
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, folder, how, Mode::empty())?)
}

/// Opens what is held, when it is a regular file, whatever has its name by now.
fn open_held(held: &OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(held)?.st_mode) != FileType::RegularFile {
        return Err(ErrorKind::InvalidInput.into());
    }
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // A magic link to the very file that is held; its name is not looked up again.
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(open(again, how, Mode::empty())?.into())
}

/// How a folder on the way is taken hold of.
const STEP: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// Takes hold of what a path below `root` names, without opening it.
fn hold(root: OwnedFd, path: &RelPath) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(
        &root,
        path.as_path(),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        beneath,
    ) {
        // Or not allowed, by a sandbox that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => hold_part_by_part(root, path),
        held => Ok(held?),
    }
}

/// The same for kernels before 5.6.
fn hold_part_by_part(root: OwnedFd, path: &RelPath) -> io::Result<OwnedFd> {
    let mut parts = path.as_path().components().peekable();
    let mut folder = root;
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            folder = openat(&folder, part.as_os_str(), STEP, Mode::empty())?;
            continue;
        }
        let how = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let held = openat(&folder, part.as_os_str(), how, Mode::empty())?;
        // With O_PATH a link itself is held, where openat2 refuses it.
        return match FileType::from_raw_mode(fstat(&held)?.st_mode) {
            FileType::Symlink => Err(Errno::LOOP.into()),
            _ => Ok(held),
        };
    }
    Err(ErrorKind::NotFound.into())
}

/// Looks at a file; one of more than `max_bytes` is not read.
pub fn look(folder: &Path, path: &RelPath, max_bytes: u64, rest: Rest) -> Looked {
    look_and_copy(folder, path, max_bytes, rest, None, &Beat::default())
}

/// The same, and what is hashed is copied. The copy is good when the answer is an image. Beats while it
/// goes on.
pub(super) fn look_and_copy(
    folder: &Path,
    path: &RelPath,
    max_bytes: u64,
    rest: Rest,
    copy: Option<&mut Copying>,
    beat: &Beat,
) -> Looked {
    let mut file = match open_beneath(folder, path) {
        Ok(file) => file,
        Err(error) => return cannot(&error),
    };
    let before = match file.metadata() {
        Ok(meta) => Fingerprint::of(&meta),
        Err(error) => return cannot(&error),
    };
    let found = match examine(&mut file, before, max_bytes, rest, copy, beat) {
        Ok(found) => found,
        Err(error) => return cannot(&error),
    };
    // The descriptor for changes of content, the name for a replacement.
    let after = file.metadata().map(|meta| Fingerprint::of(&meta));
    let named = folder.join(path.as_path()).symlink_metadata();
    match (after, named.map(|meta| Fingerprint::of(&meta))) {
        (Ok(after), Ok(named)) if after == before && named == before => found,
        _ => Looked::Changed,
    }
}

fn cannot(error: &io::Error) -> Looked {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle => Looked::Gone,
        ErrorKind::NotADirectory | ErrorKind::CrossesDevices | ErrorKind::InvalidInput => {
            Looked::NoFile
        }
        // Leased by a file server; asking for it made the kernel ask that server to give way.
        ErrorKind::WouldBlock => Looked::Changed,
        // A link: NOFOLLOW and NO_SYMLINKS answer this, and so does a real loop.
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Looked::NoFile,
        ErrorKind::PermissionDenied => Looked::Unreadable(
            "it may not be read; give pixcell's user permission to read it".into(),
        ),
        _ => Looked::Unreadable(format!("it cannot be read: {error}")),
    }
}

fn examine(
    file: &mut File,
    fingerprint: Fingerprint,
    max_bytes: u64,
    rest: Rest,
    copy: Option<&mut Copying>,
    beat: &Beat,
) -> io::Result<Looked> {
    let rejected = |reason: String| {
        Ok(Looked::Rejected {
            fingerprint,
            reason,
        })
    };
    let other = |kind| {
        rejected(format!(
            "its content is {kind}, not an image that the API takes"
        ))
    };
    let held = |file: &File, reason: String| {
        // What is not written yet and was read all the same would no longer be told as a hole.
        let _ = fadvise(file, 0, None, Advice::DontNeed);
        Ok(Looked::Held {
            fingerprint,
            reason,
        })
    };
    if fingerprint.size == 0 {
        return held(file, "it is empty".into());
    }
    if fingerprint.size > max_bytes {
        return rejected(format!(
            "it is {} large, more than the {} that max_bytes allows",
            ByteSize(fingerprint.size).display().iec(),
            ByteSize(max_bytes).display().iec()
        ));
    }
    let hole = hole(file, fingerprint.size);
    file.rewind()?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let format = match recognise(&head) {
        Recognised::Accepted(format) => format,
        Recognised::Blank => {
            return held(
                file,
                "it begins with nothing but zeros: its space was set aside and not written yet, or was \
                 lost in a power cut"
                    .into(),
            );
        }
        Recognised::Other(kind) => return other(kind),
    };
    file.rewind()?;
    let end = completeness(
        format,
        &mut BufReader::with_capacity(CHUNK, beat.with(&*file)),
        fingerprint.size,
    )?;
    let told = match end {
        Completeness::Complete => rest != Rest::Restless,
        Completeness::Unknowable => false,
        Completeness::Incomplete(what) => return held(file, what),
        Completeness::Other(kind) => return other(kind),
    };
    let sure = match (format, hole) {
        // Whole pages of zeros, and so holes, can be pixels where they are not compressed.
        (Format::Bmp | Format::Tiff, Some(_)) => false,
        (_, Some(at)) => {
            return held(
                file,
                format!(
                    "its space from byte {at} on was set aside and never written (a hole, lseek(2)); if \
                     the picture is whole, copy it with `cp --sparse=never`"
                ),
            );
        }
        // Here lengths tell the end; the others were read to a mark.
        (Format::Bmp | Format::Tiff | Format::Heic | Format::Bpg, None) => {
            told && !ends_in_zeros(file, fingerprint.size)?
        }
        (_, None) => told,
    };
    if !sure && rest != Rest::QuietAs(fingerprint) {
        return Ok(Looked::Unsettled(fingerprint));
    }
    file.rewind()?;
    Ok(match hash(beat.with(&mut *file), fingerprint.size, copy)? {
        Some(hash) => Looked::Image {
            fingerprint,
            hash,
            format,
        },
        None => Looked::Changed,
    })
}

/// Where a part of the file begins that was never written: some writers set the whole length aside first
/// and fill it in any order (SMB clients, downloads in several parts). To be asked before the file is read,
/// as zeros that were read count as written. `None` also where the file system knows of no holes.
fn hole(file: &File, size: u64) -> Option<u64> {
    seek(file, SeekFrom::Hole(0)).ok().filter(|at| *at < size)
}

/// Whether the last page of the file is all zeros.
fn ends_in_zeros(file: &File, size: u64) -> io::Result<bool> {
    let mut tail = [0; PAGE];
    let tail = match usize::try_from(size) {
        Ok(size) if size < PAGE => &mut tail[..size],
        _ => &mut tail[..],
    };
    file.read_exact_at(tail, size - tail.len() as u64)?;
    Ok(tail.iter().all(|byte| *byte == 0))
}

/// The hash of all `size` bytes; `None` when there are more or fewer by now. A file that grows while it
/// is read is not followed to an end that it may never have.
fn hash(
    mut file: impl Read,
    size: u64,
    mut copy: Option<&mut Copying>,
) -> io::Result<Option<ContentHash>> {
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    loop {
        match (file.read(&mut chunk)?, left) {
            (0, 0) => return Ok(Some(hasher.finish())),
            (0, _) => return Ok(None),
            (read, _) => {
                let Some(behind) = left.checked_sub(read as u64) else {
                    return Ok(None);
                };
                left = behind;
                hasher.update(&chunk[..read]);
                if let Some(copy) = &mut copy {
                    copy.write(&chunk[..read]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, RgbImage};
    use rstest::rstest;
    use std::fs;
    use std::io::{Cursor, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, Instant};

    const MIB: u64 = 1024 * 1024;

    fn picture(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let drawn = RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 5).to_le_bytes()[0], (y * 7).to_le_bytes()[0], 9])
        });
        drawn.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn path(name: &str) -> RelPath {
        RelPath::new(Path::new(name)).unwrap()
    }

    fn look_at(folder: &tempfile::TempDir, name: &str) -> Looked {
        look(folder.path(), &path(name), MIB, Rest::Unknown)
    }

    fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        folder
    }

    #[rstest]
    #[case(ImageFormat::Png, Format::Png)]
    #[case(ImageFormat::Jpeg, Format::Jpeg)]
    #[case(ImageFormat::Gif, Format::Gif)]
    #[case(ImageFormat::Bmp, Format::Bmp)]
    fn a_whole_image_is_hashed_whatever_its_name(
        #[case] kind: ImageFormat,
        #[case] format: Format,
    ) {
        let bytes = picture(kind);
        let folder = folder_with("notes.txt", &bytes);
        let Looked::Image {
            hash,
            format: seen,
            fingerprint,
        } = look_at(&folder, "notes.txt")
        else {
            panic!("no image")
        };
        assert_eq!((hash, seen), (ContentHash::of(&bytes), format));
        assert_eq!(fingerprint.size, bytes.len() as u64);
    }

    #[test]
    fn what_is_not_whole_is_held_and_what_is_no_image_is_rejected() {
        let png = picture(ImageFormat::Png);
        let held = |bytes: &[u8]| {
            matches!(
                look_at(&folder_with("a.png", bytes), "a.png"),
                Looked::Held { .. }
            )
        };
        assert!(held(b""));
        assert!(held(&png[..png.len() - 1]));
        let Looked::Rejected { reason, .. } = look_at(&folder_with("a.png", b"hello\n"), "a.png")
        else {
            panic!("text taken for an image")
        };
        assert!(reason.contains("text"), "{reason}");
    }

    #[test]
    fn a_file_over_the_limit_is_rejected_without_being_read() {
        let folder = folder_with("a.jpg", b"");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("a.jpg"))
            .unwrap();
        file.set_len(1 << 40).unwrap();
        let start = Instant::now();
        let Looked::Rejected { reason, .. } = look_at(&folder, "a.jpg") else {
            panic!("taken")
        };
        assert_eq!(
            reason,
            "it is 1.0 TiB large, more than the 1.0 MiB that max_bytes allows"
        );
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a terabyte was read"
        );
    }

    #[test]
    fn links_folders_and_pipes_are_never_opened() {
        let secret = folder_with("secret.png", &picture(ImageFormat::Png));
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(secret.path().join("secret.png"), at("link.png")).unwrap();
        symlink(secret.path(), at("linked")).unwrap();
        fs::create_dir(at("folder.png")).unwrap();
        rustix::fs::mknodat(
            CWD,
            at("pipe.png"),
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        for name in ["link.png", "linked/secret.png", "folder.png", "pipe.png"] {
            assert_eq!(look_at(&folder, name), Looked::NoFile, "{name}");
            assert!(
                open_beneath(folder.path(), &path(name)).is_err(),
                "{name} was opened"
            );
        }
    }

    #[test]
    fn a_folder_that_is_a_link_itself_is_the_one_it_points_to() {
        let real = folder_with("a.png", &picture(ImageFormat::Png));
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("in");
        symlink(real.path(), &link).unwrap();
        let looked = look(&link, &path("a.png"), MIB, Rest::Unknown);
        assert!(matches!(looked, Looked::Image { .. }), "{looked:?}");
    }

    #[test]
    fn without_openat2_links_are_not_followed_either() {
        let secret = folder_with("secret.png", b"x");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a.png"), b"x").unwrap();
        symlink(secret.path(), folder.path().join("linked")).unwrap();
        symlink(
            secret.path().join("secret.png"),
            folder.path().join("sub/link.png"),
        )
        .unwrap();
        let open = |name: &str| {
            let root = openat(CWD, folder.path(), STEP, Mode::empty()).unwrap();
            hold_part_by_part(root, &path(name)).is_ok()
        };
        assert!(open("sub/a.png"));
        assert!(!open("linked/secret.png"));
        assert!(!open("sub/link.png"));
    }

    #[rstest]
    fn a_file_whose_name_is_taken_between_look_and_opening_is_opened_itself(
        #[values(true, false)] openat2: bool,
    ) {
        let secret = folder_with("secret.png", b"the secret");
        let folder = folder_with("a.png", b"the picture");
        let name = folder.path().join("a.png");
        let held = || {
            let root = openat(CWD, folder.path(), STEP, Mode::empty()).unwrap();
            let hold = if openat2 { hold } else { hold_part_by_part };
            hold(root, &path("a.png"))
        };
        let picture = held().unwrap();
        fs::remove_file(&name).unwrap();
        symlink(secret.path().join("secret.png"), &name).unwrap();
        let text = io::read_to_string(open_held(&picture).unwrap()).unwrap();
        assert_eq!(text, "the picture");
        // The link itself is not even held.
        assert_eq!(
            held().unwrap_err().raw_os_error(),
            Some(Errno::LOOP.raw_os_error())
        );

        // What is held as a pipe stays one, though a picture has its name now.
        fs::remove_file(&name).unwrap();
        rustix::fs::mknodat(CWD, &name, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let pipe = held().unwrap();
        fs::remove_file(&name).unwrap();
        fs::write(&name, b"the picture").unwrap();
        assert_eq!(
            open_held(&pipe).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_file_that_is_longer_or_shorter_than_it_was_has_changed() {
        let folder = folder_with("a.png", b"12345");
        let hashed = |size| {
            let file = open_beneath(folder.path(), &path("a.png")).unwrap();
            hash(file, size, None).unwrap()
        };
        assert_eq!(hashed(5), Some(ContentHash::of(b"12345")));
        assert_eq!((hashed(4), hashed(6)), (None, None));
    }

    #[test]
    fn a_file_that_a_server_has_leased_is_looked_at_again() {
        assert_eq!(cannot(&ErrorKind::WouldBlock.into()), Looked::Changed);
    }

    #[test]
    fn a_file_that_is_not_there_is_gone() {
        assert_eq!(
            look_at(&tempfile::tempdir().unwrap(), "a.png"),
            Looked::Gone
        );
        assert_eq!(
            look_at(&folder_with("a.png", b"x"), "a.png/b.png"),
            Looked::NoFile
        );
    }

    #[test]
    fn a_file_that_tells_no_end_must_stay_the_same_from_one_look_to_the_next() {
        // A BPG that declares no length for its picture data (bellard.org/bpg, section 3.1).
        let bpg = [
            b'B', b'P', b'G', 0xfb, 0x20, 0x00, 0x08, 0x08, 0x00, 1, 2, 3, 4, 5,
        ];
        let folder = folder_with("a.bpg", &bpg);
        let Looked::Unsettled(seen) = look_at(&folder, "a.bpg") else {
            panic!("{:?}", look_at(&folder, "a.bpg"))
        };
        let again = |quiet| look(folder.path(), &path("a.bpg"), MIB, Rest::QuietAs(quiet));
        assert!(matches!(again(seen), Looked::Image { .. }));
        let file = fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join("a.bpg"));
        file.unwrap().write_all(b"more").unwrap();
        assert!(matches!(again(seen), Looked::Unsettled(_)));
    }

    #[test]
    fn the_end_of_a_file_that_its_writer_goes_on_with_is_not_believed() {
        let folder = folder_with("a.jpg", &picture(ImageFormat::Jpeg));
        let at_rest = |rest| look(folder.path(), &path("a.jpg"), MIB, rest);
        let Looked::Unsettled(seen) = at_rest(Rest::Restless) else {
            panic!("{:?}", at_rest(Rest::Restless))
        };
        assert!(matches!(at_rest(Rest::QuietAs(seen)), Looked::Image { .. }));
    }

    /// A file whose space is set aside; its bytes are written but for `hole`, which is whole pages.
    fn with_hole(bytes: &[u8], hole: std::ops::Range<usize>) -> tempfile::TempDir {
        let folder = folder_with("a", b"");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("a"))
            .unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes[..hole.start], 0).unwrap();
        file.write_all_at(&bytes[hole.end..], hole.end as u64)
            .unwrap();
        folder
    }

    /// A larger picture: several pages.
    fn pages(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let noise = RgbImage::from_fn(128, 128, |x, y| {
            let mixed = (x * 7919 + y * 104_729)
                .wrapping_mul(2_654_435_761)
                .to_le_bytes();
            image::Rgb([mixed[1], mixed[2], mixed[3]])
        });
        noise.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_with_an_end_and_a_part_that_was_never_written_is_held() {
        let jpeg = pages(ImageFormat::Jpeg);
        assert!(jpeg.len() > 4 * PAGE, "{} bytes", jpeg.len());
        let folder = with_hole(&jpeg, PAGE..2 * PAGE);
        let looked = look_at(&folder, "a");
        let Looked::Held { reason, .. } = &looked else {
            panic!("{looked:?}")
        };
        assert!(reason.contains("from byte 4096 on"), "{reason}");
        let all = fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("a"))
            .unwrap();
        all.write_all_at(&jpeg, 0).unwrap();
        assert!(
            matches!(look_at(&folder, "a"), Looked::Image { hash, .. } if hash == ContentHash::of(&jpeg))
        );
    }

    #[rstest]
    #[case::never_written(ImageFormat::Bmp, true)]
    #[case::written(ImageFormat::Bmp, false)]
    fn zeros_where_pixels_may_be_zeros_must_have_settled(
        #[case] format: ImageFormat,
        #[case] hole: bool,
    ) {
        let mut bytes = pages(format);
        let tail = bytes.len().next_multiple_of(PAGE) - 2 * PAGE;
        bytes[tail..].fill(0);
        let folder = if hole {
            with_hole(&bytes, tail..bytes.len())
        } else {
            folder_with("a", &bytes)
        };
        let Looked::Unsettled(seen) = look_at(&folder, "a") else {
            panic!("{:?}", look_at(&folder, "a"))
        };
        let settled = look(folder.path(), &path("a"), MIB, Rest::QuietAs(seen));
        assert!(matches!(settled, Looked::Image { hash, .. } if hash == ContentHash::of(&bytes)));
    }

    #[test]
    fn a_file_of_zeros_is_held() {
        let folder = folder_with("a.jpg", &[0; 3 * PAGE]);
        let Looked::Held { reason, .. } = look_at(&folder, "a.jpg") else {
            panic!("{:?}", look_at(&folder, "a.jpg"))
        };
        assert!(reason.contains("zeros"), "{reason}");
    }

    #[test]
    fn an_unreadable_file_comes_with_advice() {
        if rustix::process::geteuid().is_root() {
            // Root reads everything; the way the system's answer is taken is tested all the same.
            let Looked::Unreadable(reason) = cannot(&ErrorKind::PermissionDenied.into()) else {
                panic!("readable")
            };
            assert!(reason.contains("permission"), "{reason}");
            return;
        }
        let folder = folder_with("a.png", &picture(ImageFormat::Png));
        let file = folder.path().join("a.png");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(matches!(look_at(&folder, "a.png"), Looked::Unreadable(_)));
    }
}
