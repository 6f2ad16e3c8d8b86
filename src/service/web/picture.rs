//! A small picture of a cell: the file itself, scaled by the browser. Only a file that the store knows to
//! hold what a listed cell holds, opened beneath its folder through no link, and only while its
//! fingerprint is the recorded one. Nothing is decoded here.

use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use crate::image::{ContentHash, Format};
use crate::intake::open_beneath;
use crate::placement::Routes;
use crate::store::{FileKey, Fingerprint, Seen, Store};

/// Larger files are not sent as pictures: a hundred of them would be a page of gigabytes. In bytes.
const BYTES_MOST: u64 = 4 * 1024 * 1024;

/// Whether a cell's picture can be shown, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shown {
    /// It can.
    Here,
    /// The file is another by now, or gone.
    Changed,
    /// Browsers do not show this format.
    Format,
    /// The file is larger than is sent.
    Large,
}

/// Whether a file can be shown.
pub(super) fn shown(format: Format, bytes: u64) -> Shown {
    match media_type(format) {
        None => Shown::Format,
        Some(_) if bytes > BYTES_MOST => Shown::Large,
        Some(_) => Shown::Here,
    }
}

/// As browsers know it; `None` for what they do not show.
fn media_type(format: Format) -> Option<&'static str> {
    match format {
        Format::Png => Some("image/png"),
        Format::Jpeg => Some("image/jpeg"),
        Format::Gif => Some("image/gif"),
        Format::Bmp => Some("image/bmp"),
        Format::Tiff | Format::Heic | Format::Bpg => None,
    }
}

/// The picture with its media type. Blocks. `None` when the file is not, or not any more, what the store
/// knows to hold this hash.
pub(super) fn read(
    store: &Store,
    routes: &Routes,
    key: &FileKey,
    wanted: ContentHash,
) -> Option<(&'static str, Vec<u8>)> {
    let record = store.file(key).ok()??;
    let Seen::Image { hash, format, .. } = record.seen else {
        return None;
    };
    let media_type = media_type(format)?;
    if hash != wanted || record.fingerprint.size > BYTES_MOST {
        return None;
    }
    let folder = &routes.of(&key.mapping)?.mapping.folder;
    let bytes = read_unchanged(folder, key, record.fingerprint).ok()?;
    (ContentHash::of(&bytes) == wanted).then_some((media_type, bytes))
}

fn read_unchanged(folder: &Path, key: &FileKey, known: Fingerprint) -> io::Result<Vec<u8>> {
    let file = open_beneath(folder, &key.path)?;
    if Fingerprint::of(&file.metadata()?) != known {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(known.size).unwrap_or_default());
    file.take(BYTES_MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MappingName;
    use crate::placement::RelPath;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_file_that_is_known_is_read() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("in");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("B2.png");
        fs::write(&path, "picture").unwrap();
        let known = Fingerprint::of(&path.metadata().unwrap());
        let key = FileKey {
            mapping: MappingName::try_from("lobby".to_owned()).unwrap(),
            path: RelPath::new(Path::new("B2.png")).unwrap(),
        };
        assert_eq!(read_unchanged(&folder, &key, known).unwrap(), b"picture");

        // The very file, but by a link from within.
        let moved = home.path().join("moved.png");
        fs::rename(&path, &moved).unwrap();
        let known = Fingerprint::of(&moved.metadata().unwrap());
        symlink(&moved, &path).unwrap();
        assert!(read_unchanged(&folder, &key, known).is_err());

        // Another file of the same length under its name.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "private").unwrap();
        assert!(read_unchanged(&folder, &key, known).is_err());
    }
}
