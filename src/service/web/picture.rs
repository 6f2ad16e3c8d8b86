//! A small picture of a cell: the file itself, scaled by the browser. Only a file that the store knows to
//! hold what a listed cell holds, opened beneath its folder through no link, and only while its
//! fingerprint is the recorded one. Nothing is decoded here.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::blocking::off_runtime_for;
use crate::config::MappingName;
use crate::image::{ContentHash, Format};
use crate::intake::open_beneath;
use crate::placement::{Route, Routes};
use crate::store::{FileKey, Fingerprint, Seen, Store};

/// Larger files are not sent as pictures: a hundred of them would be a page of gigabytes. In bytes.
const BYTES_MOST: u64 = 4 * 1024 * 1024;
/// Pictures waited for at a time: what they take of memory is this often a picture's largest size.
const READERS_MOST: usize = 2;
/// How long a picture may take with all its turns. A browser has few connections, so each that waits is missed.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// A picture with its media type.
pub(super) type Picture = (&'static str, Vec<u8>);

/// The folder of a picture does not answer in time.
#[derive(Debug)]
pub(super) struct Late;

/// Reads pictures: few at a time, and one of each mapping, so that a folder that hangs holds one thread and
/// nobody else's turn.
pub(super) struct Readers {
    all: Semaphore,
    turns: BTreeMap<MappingName, Arc<Turn>>,
}

struct Turn {
    free: Arc<Semaphore>,
    /// When the reading under way began.
    since: Mutex<Option<Instant>>,
}

/// A turn that is taken; the thread that reads gives it back, however late.
struct Reading {
    turn: Arc<Turn>,
    _taken: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(routes: &Routes) -> Self {
        let turn = |route: &Arc<Route>| {
            let turn = Turn {
                free: Arc::new(Semaphore::new(1)),
                since: Mutex::default(),
            };
            (route.mapping.name.clone(), Arc::new(turn))
        };
        Self {
            all: Semaphore::new(READERS_MOST),
            turns: routes.iter().map(turn).collect(),
        }
    }

    /// The picture. `None` when the file is not, or not any more, what the store knows to hold this hash.
    ///
    /// # Errors
    /// When it cannot be had in time; at once while the folder is known to hang.
    pub(super) async fn read(
        &self,
        store: &Store,
        routes: &Routes,
        key: FileKey,
        wanted: ContentHash,
    ) -> Result<Option<Picture>, Late> {
        let end = Instant::now() + PATIENCE;
        let (Some(turn), Some(route)) = (self.turns.get(&key.mapping), routes.of(&key.mapping))
        else {
            return Ok(None);
        };
        let reading = turn.take(end).await?;
        let seat = timeout_at(end, self.all.acquire()).await;
        let _seat = seat.map_err(|_| Late)?.map_err(|_| Late)?;
        let (sought, folder) = (key.clone(), Arc::clone(route));
        let known = store.call(move |store| known(store, &sought, wanted)).await;
        let Some((media_type, fingerprint)) = known else {
            return Ok(None);
        };
        // Without the store: a thread that hangs must not keep it from being closed.
        let read = move || {
            let _reading = reading;
            read_unchanged(&folder.mapping.folder, &key, fingerprint)
        };
        let left = end.saturating_duration_since(Instant::now());
        let bytes = off_runtime_for(left, read).await.map_err(|_| Late)?;
        let same = |bytes: &Vec<u8>| ContentHash::of(bytes) == wanted;
        Ok(bytes.ok().filter(same).map(|bytes| (media_type, bytes)))
    }
}

impl Turn {
    async fn take(self: &Arc<Self>, end: Instant) -> Result<Reading, Late> {
        let hangs = |since: Instant| since.elapsed() >= PATIENCE;
        if self.since().is_some_and(hangs) {
            return Err(Late);
        }
        let taken = timeout_at(end, Arc::clone(&self.free).acquire_owned()).await;
        let taken = taken.map_err(|_| Late)?.map_err(|_| Late)?;
        *self.since() = Some(Instant::now());
        Ok(Reading {
            turn: Arc::clone(self),
            _taken: taken,
        })
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        *self.turn.since() = None;
    }
}

/// What the store knows of a file that can be shown and holds this hash.
fn known(store: &Store, key: &FileKey, wanted: ContentHash) -> Option<(&'static str, Fingerprint)> {
    let record = store.file(key).ok()??;
    let Seen::Image { hash, format, .. } = record.seen else {
        return None;
    };
    let fits = hash == wanted && record.fingerprint.size <= BYTES_MOST;
    fits.then_some((media_type(format)?, record.fingerprint))
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
