//! A mark beside the database, by which one that was lost, emptied or taken back in time is told from
//! a new one: sled opens each of them without a word.
//!
//! It names the store, the schema, the run, the machine, and the sequence of the latest receipt. What
//! always holds: the mark is raised after the receipt is on disk, so the database's sequence is never
//! below the mark's, whatever was killed or lost its power. A database below it has lost receipts.
//!
//! Raising costs one write into the page cache and no fsync: after a kill the mark is exact, after a
//! power cut it may be some seconds old, which accuses nobody. Two places are written in turn, so a
//! write cut short leaves the other.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::envelope::{self, Damage};
use crate::image::ContentHash;

/// The file, in the state directory.
const NAME: &str = "generation";
/// What the checksums cover beside the content.
const KEY: &[u8] = b"generation";
/// Bytes from one place to the other: two blocks of any usual disk.
const APART: u64 = 4096;
const PLACES: u64 = 2;

/// What the database must be able to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of the database. Stays the first field, so that every later version can be told.
    pub schema: u32,
    /// Which database, drawn at random when it was made.
    pub store: u64,
    /// The run that wrote this.
    pub epoch: u64,
    /// Of the machine that wrote this, where it has an id.
    pub machine: Option<ContentHash>,
    /// The sequence of the latest receipt on disk; 0 before the first.
    pub received: u64,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file: a new state, or one of schema 1.
    Nothing,
    /// A file that proves nothing.
    Damaged,
    /// A later version wrote it, with this schema where it could be read.
    Newer(u32),
    /// The latest that proves itself.
    Mark(Mark),
}

/// The open file.
#[derive(Debug)]
pub struct Generation {
    file: File,
    turn: u64,
    mark: Mark,
}

/// Reads the mark of `state_dir`; changes nothing.
pub fn read(state_dir: &Path, schema: u32) -> io::Result<Found> {
    let bytes = match fs::read(state_dir.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let mut latest: Option<(u64, Found)> = None;
    for place in bytes.chunks(usize::try_from(APART).unwrap_or(usize::MAX)) {
        let Some((length, rest)) = place.split_first_chunk::<2>() else {
            continue;
        };
        let Some(sealed) = rest.get(..usize::from(u16::from_le_bytes(*length))) else {
            continue;
        };
        let (turn, found) = match envelope::open::<u32>(KEY, sealed) {
            Ok((turn, newer)) if newer > schema => (turn, Found::Newer(newer)),
            Ok((turn, _)) => match envelope::unseal(KEY, sealed) {
                Ok(mark) => (turn, Found::Mark(mark)),
                Err(_) => continue,
            },
            Err(Damage::Format(format)) if format > envelope::FORMAT => {
                (u64::MAX, Found::Newer(schema.saturating_add(1)))
            }
            Err(_) => continue,
        };
        if latest.as_ref().is_none_or(|(before, _)| turn > *before) {
            latest = Some((turn, found));
        }
    }
    Ok(latest.map_or(Found::Damaged, |(_, found)| found))
}

impl Generation {
    /// Writes the mark anew; the one before it is there until this one is on disk.
    pub fn create(state_dir: &Path, mark: Mark) -> io::Result<Self> {
        let (path, new) = (state_dir.join(NAME), state_dir.join("generation.new"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        // No hole: raising the mark takes no space that a full disk would refuse.
        file.write_all_at(
            &vec![0; usize::try_from(APART * PLACES).unwrap_or_default()],
            0,
        )?;
        let mut generation = Self {
            file,
            turn: 0,
            mark,
        };
        generation.put()?;
        generation.file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(state_dir)?.sync_all()?;
        Ok(generation)
    }

    /// A receipt with this sequence is on disk.
    pub fn raise(&mut self, received: u64) -> io::Result<()> {
        if received <= self.mark.received {
            return Ok(());
        }
        self.mark.received = received;
        self.put()
    }

    fn put(&mut self) -> io::Result<()> {
        self.turn += 1;
        let sealed = envelope::seal(KEY, self.turn, &self.mark).map_err(io::Error::other)?;
        let length = u16::try_from(sealed.len()).map_err(io::Error::other)?;
        let bytes = [length.to_le_bytes().as_slice(), &sealed].concat();
        self.file.write_all_at(&bytes, self.turn % PLACES * APART)
    }
}

/// Which machine this is, where it has an id (machine-id(5)): a hash of it, since it is not for files.
pub fn machine() -> Option<ContentHash> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    let usable = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    usable.then(|| ContentHash::of(format!("pixcell {id}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(received: u64) -> Mark {
        Mark {
            schema: 2,
            store: 7,
            epoch: 1,
            machine: None,
            received,
        }
    }

    #[test]
    fn the_latest_mark_is_read_and_never_sinks() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), 2).unwrap(), Found::Nothing);
        let mut generation = Generation::create(dir.path(), mark(0)).unwrap();
        for received in [3, 9, 5] {
            generation.raise(received).unwrap();
        }
        assert_eq!(read(dir.path(), 2).unwrap(), Found::Mark(mark(9)));
    }

    #[test]
    fn a_write_cut_short_leaves_the_mark_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut generation = Generation::create(dir.path(), mark(0)).unwrap();
        generation.raise(3).unwrap();
        generation.raise(4).unwrap();
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        let torn = usize::try_from(generation.turn % PLACES * APART).unwrap() + 8;
        bytes[torn] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path(), 2).unwrap(), Found::Mark(mark(3)));
        fs::write(&path, [0x5a; 8192]).unwrap();
        assert_eq!(read(dir.path(), 2).unwrap(), Found::Damaged);
    }

    #[test]
    fn a_later_schema_is_told_whatever_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let later = Mark {
            schema: 3,
            ..mark(1)
        };
        Generation::create(dir.path(), later).unwrap();
        assert_eq!(read(dir.path(), 2).unwrap(), Found::Newer(3));
    }
}
