//! Listing a folder: every regular file below it with its fingerprint, in batches. Opens no file and
//! follows no link; one stat a file, relative to its folder. Blocks: runs on a thread of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, lstat, openat, statat};
use rustix::io::Errno;

use super::candidate::{Found, Met};
use crate::placement::{RelPath, Route};
use crate::store::Fingerprint;

/// Entries looked at between two times of handing over.
pub const BATCH: usize = 512;

/// Where a listing stops: what lies beyond is a mistake or a trap, and is told as not seen.
const LIMITS: Limits = Limits {
    depth: 64,
    entries: 2_000_000,
};

/// How far a listing goes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Levels of folders that are entered.
    depth: usize,
    /// Files, folders and everything else.
    entries: usize,
}

/// What a listing came to.
#[derive(Debug, Default)]
pub struct Listing {
    /// The files that it met.
    pub met: Met,
    /// What it could not see. Not what went while it ran.
    pub gaps: Gaps,
}

/// Lists the files at or below `below`, or of the whole folder. `hand_over` is called after every
/// 512 entries, with those of them that are files, and returns whether to go on. `None` when it did
/// not. `entering` is called with each folder before anything in it is listed: what comes there later is
/// told by a watch that it sets.
pub fn walk(
    route: &Route,
    below: Option<&RelPath>,
    entering: impl FnMut(&Path),
    hand_over: impl FnMut(Vec<Found>) -> bool,
) -> Option<Listing> {
    survey_within(LIMITS, route, below, entering, hand_over, |_, _| ())
}

/// The same, and tells of each folder that is not entered, with the pattern that ignores all of it.
pub fn survey(
    route: &Route,
    below: Option<&RelPath>,
    hand_over: impl FnMut(Vec<Found>) -> bool,
    left_out: impl FnMut(&RelPath, &str),
) -> Option<Listing> {
    survey_within(LIMITS, route, below, |_| (), hand_over, left_out)
}

fn survey_within(
    limits: Limits,
    route: &Route,
    below: Option<&RelPath>,
    entering: impl FnMut(&Path),
    hand_over: impl FnMut(Vec<Found>) -> bool,
    left_out: impl FnMut(&RelPath, &str),
) -> Option<Listing> {
    let folder = &route.mapping.folder;
    let top = below.map_or_else(|| folder.clone(), |below| folder.join(below.as_path()));
    let mut walk = Walk {
        limits,
        route,
        top: top.clone(),
        count: 0,
        batch: Vec::with_capacity(BATCH),
        listing: Listing::default(),
        entering,
        hand_over,
        left_out,
    };
    let ended = match below {
        None => walk.list(Place::of_folder(folder)),
        Some(below) => walk.list_path(folder, below),
    };
    let whole = match ended {
        Ok(()) | Err(End::Full) => (walk.hand_over)(walk.batch),
        Err(End::Unheard) => false,
    };
    whole.then_some(walk.listing)
}

/// Why a listing goes no further.
enum End {
    /// Nobody listens.
    Unheard,
    /// It has met as much as it may.
    Full,
}

/// A path that grows and shrinks with the walk. Names are put together as bytes, since comparing paths part by
/// part takes as long as a stat.
struct Place {
    path: Vec<u8>,
    /// Where the path below the mapped folder begins.
    below: usize,
}

impl Place {
    fn of_folder(folder: &Path) -> Self {
        let mut path = folder.as_os_str().as_bytes().to_vec();
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let below = path.len() + usize::from(!path.ends_with(b"/"));
        Self { path, below }
    }

    fn enter(&mut self, name: &[u8]) {
        if !self.path.ends_with(b"/") {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// The path below the mapped folder; `None` for the folder itself.
    fn relative(&self) -> Option<RelPath> {
        RelPath::new(Path::new(OsStr::from_bytes(self.path.get(self.below..)?)))
    }
}

/// Sub-folders that were met in one folder and are still to be read: their names, each with a zero behind it.
struct Level {
    names: Vec<u8>,
    /// How many bytes of them are done with.
    done: usize,
    /// The length of the path of the folder.
    path: usize,
}

impl Level {
    fn next(&mut self) -> Option<&[u8]> {
        let names = self.names.get(self.done..)?;
        let end = names.iter().position(|byte| *byte == 0)?;
        self.done += end + 1;
        names.get(..end)
    }
}

/// Bytes of entries that the kernel gives at a time.
const ENTRIES: usize = 32 * 1024;

/// One listing. Holds one folder open at a time.
struct Walk<'a, E, H, L> {
    limits: Limits,
    route: &'a Route,
    top: PathBuf,
    /// Entries met so far, the top one of all included.
    count: usize,
    batch: Vec<Found>,
    listing: Listing,
    entering: E,
    hand_over: H,
    left_out: L,
}

impl<E, H, L> Walk<'_, E, H, L>
where
    E: FnMut(&Path),
    H: FnMut(Vec<Found>) -> bool,
    L: FnMut(&RelPath, &str),
{
    /// Lists a path that may be a folder or a file.
    fn list_path(&mut self, folder: &Path, below: &RelPath) -> Result<(), End> {
        let mut place = Place::of_folder(folder);
        place.enter(below.as_bytes());
        let stat = match lstat(place.path()) {
            Ok(stat) => stat,
            Err(error) => {
                self.add_error(place.path(), error);
                return Ok(());
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                self.meet()?;
                self.take(below.clone(), &stat);
                Ok(())
            }
            // Files of a sub-folder are not for a mapping without them.
            FileType::Directory if self.route.mapping.recursive => {
                if !self.leaves_out(below) {
                    self.list(place)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Lists a folder and what lies below it.
    fn list(&mut self, mut place: Place) -> Result<(), End> {
        self.meet()?;
        let mut names = Vec::new();
        // The mapped folder may be a link: whoever configured it chose where it points to.
        let follow = place.relative().is_none();
        self.read(&mut place, follow, &mut names)?;
        let mut levels = vec![Level {
            names,
            done: 0,
            path: place.path.len(),
        }];
        while let Some(level) = levels.last_mut() {
            place.path.truncate(level.path);
            let Some(name) = level.next() else {
                levels.pop();
                continue;
            };
            place.enter(name);
            let mut names = Vec::new();
            self.read(&mut place, false, &mut names)?;
            if !names.is_empty() {
                levels.push(Level {
                    names,
                    done: 0,
                    path: place.path.len(),
                });
            }
        }
        Ok(())
    }

    /// Reads one folder: takes its files, and tells the names of its sub-folders.
    fn read(&mut self, place: &mut Place, follow: bool, names: &mut Vec<u8>) -> Result<(), End> {
        let relative = place.relative();
        let depth = relative.map_or(0, |below| below.as_path().components().count());
        if depth > self.limits.depth {
            let why = format!("more than {} levels deep", self.limits.depth);
            self.listing.gaps.add(place.path(), why, false);
            return Ok(());
        }
        let mut how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        how.set(OFlags::NOFOLLOW, !follow);
        let opened = openat(CWD, place.path(), how, Mode::empty());
        // What comes there from now on is told by a watch that this sets; what is there already is met.
        (self.entering)(place.path());
        let folder = match opened {
            Ok(folder) => folder,
            Err(error) => {
                self.add_error(place.path(), error);
                return Ok(());
            }
        };
        let mut buffer = Vec::with_capacity(ENTRIES);
        let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.add_error(place.path(), error);
                    return Ok(());
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let (mut kind, mut stat) = (entry.file_type(), None);
            if matches!(kind, FileType::RegularFile | FileType::Unknown) {
                match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(met) => kind = FileType::from_raw_mode(stat.insert(met).st_mode),
                    // One gap a folder: it may be listed and not be entered.
                    Err(Errno::ACCESS) => {
                        let why = io::Error::from(Errno::ACCESS).to_string();
                        self.listing.gaps.add(place.path(), why, true);
                    }
                    Err(error) => {
                        let length = place.path.len();
                        place.enter(name.to_bytes());
                        self.add_error(place.path(), error);
                        place.path.truncate(length);
                    }
                }
            }
            let length = place.path.len();
            place.enter(name.to_bytes());
            let path = place.relative();
            place.path.truncate(length);
            match (kind, path, stat) {
                (FileType::Directory, Some(path), _) => {
                    if self.leaves_out(&path) {
                        continue;
                    }
                    self.meet()?;
                    if self.route.mapping.recursive {
                        names.extend_from_slice(name.to_bytes_with_nul());
                    }
                }
                (FileType::RegularFile, Some(path), Some(stat)) => {
                    self.meet()?;
                    self.take(path, &stat);
                }
                _ => self.meet()?,
            }
        }
        Ok(())
    }

    /// Counts an entry before it is looked at, and hands over what there is by then.
    fn meet(&mut self) -> Result<(), End> {
        if self.count > 0 && self.count.is_multiple_of(BATCH) {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            if !(self.hand_over)(batch) {
                return Err(End::Unheard);
            }
        }
        if self.count == self.limits.entries {
            let why = format!("more than {} files and folders", self.count);
            self.listing.gaps.add(&self.top, why, false);
            return Err(End::Full);
        }
        self.count += 1;
        Ok(())
    }

    fn take(&mut self, path: RelPath, stat: &Stat) {
        self.listing.met.add(&path);
        self.batch.push(Found {
            path,
            fingerprint: Fingerprint::of_stat(stat),
        });
    }

    /// Whether a folder is not entered as all of it is ignored, which is told.
    fn leaves_out(&mut self, path: &RelPath) -> bool {
        let ignored = self.route.rules.folder_ignored_by(path);
        ignored
            .inspect(|pattern| (self.left_out)(path, pattern))
            .is_some()
    }

    fn add_error(&mut self, path: &Path, error: Errno) {
        match error {
            // Gone since it was met, or no folder any more, is no gap.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {}
            error => {
                let why = io::Error::from(error).to_string();
                self.listing.gaps.add(path, why, true);
            }
        }
    }
}

/// Parts that are kept by name, of those that could not be seen; the rest are counted.
const GAPS_MOST: usize = 64;

/// What could not be seen.
#[derive(Debug, Default)]
pub struct Gaps {
    /// Whole paths.
    known: BTreeMap<PathBuf, Gap>,
    more: usize,
}

#[derive(Debug)]
struct Gap {
    why: String,
    /// It may be seen later as it is, as a folder that may not be read now.
    passing: bool,
}

impl Gaps {
    fn add(&mut self, path: &Path, why: String, passing: bool) {
        if self.known.contains_key(path) {
            return;
        }
        if self.known.len() < GAPS_MOST {
            self.known.insert(path.to_owned(), Gap { why, passing });
        } else {
            self.more += 1;
        }
    }

    /// For people: the first path with the cause, and how many more.
    pub fn told(&self) -> Option<String> {
        let (path, Gap { why, .. }) = self.known.first_key_value()?;
        let first = format!("{}: {why}", path.display());
        Some(match self.known.len() - 1 + self.more {
            0 => first,
            more => format!("{first}; and {more} more"),
        })
    }

    /// What may be seen later as it is.
    pub(super) fn passing(&self) -> impl Iterator<Item = &Path> {
        let passing = self.known.iter().filter(|(_, gap)| gap.passing);
        passing.map(|(path, _)| path.as_path())
    }

    /// Takes in what a listing of `part` could not see.
    pub(super) fn renew(&mut self, part: &Path, now: Self) {
        self.known.retain(|path, _| !path.starts_with(part));
        for (path, Gap { why, passing }) in now.known {
            self.add(&path, why, passing);
        }
        self.more += now.more;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::placement::fixture::{cell, mapping};

    struct Tree {
        home: tempfile::TempDir,
        route: Arc<Route>,
    }

    fn tree(files: &[&str]) -> Tree {
        let home = tempfile::tempdir().unwrap();
        for file in files {
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let mut mapping = mapping(&[], vec![cell("{cell}.png", "{cell}")]);
        mapping.folder = home.path().to_owned();
        let route = Arc::new(Route {
            rules: crate::placement::RuleSet::compile(&mapping).unwrap(),
            mapping: Arc::new(mapping),
        });
        Tree { home, route }
    }

    fn list(tree: &Tree, limits: Limits) -> (Vec<PathBuf>, Option<String>) {
        let mut found = Vec::new();
        let found_in = |files: Vec<Found>| {
            found.extend(files.into_iter().map(|file| file.path.as_path().to_owned()));
            true
        };
        let listing = survey_within(limits, &tree.route, None, |_| (), found_in, |_, _| ());
        found.sort();
        (found, listing.unwrap().gaps.told())
    }

    #[test]
    fn folders_that_are_too_deep_are_told_and_those_at_the_limit_are_listed() {
        let tree = tree(&["a/b/2.png", "a/b/c/3.png", "a/b/d/4.png"]);
        let limits = Limits { depth: 2, ..LIMITS };
        let (found, unseen) = list(&tree, limits);
        assert_eq!(found, [PathBuf::from("a/b/2.png")]);
        let unseen = unseen.unwrap();
        assert!(unseen.contains("/a/b/"), "{unseen}");
        assert!(
            unseen.contains("more than 2 levels deep; and 1 more"),
            "{unseen}"
        );
        assert_eq!(list(&tree, LIMITS).1, None);
        // The same limit when only a part is listed.
        let below = RelPath::new(Path::new("a/b")).unwrap();
        let part = survey_within(
            limits,
            &tree.route,
            Some(&below),
            |_| (),
            |_| true,
            |_, _| (),
        );
        let Listing { met, gaps } = part.unwrap();
        assert!(gaps.told().is_some() && met.len() == 1);
    }

    #[test]
    fn a_tree_without_end_is_listed_up_to_a_limit() {
        let tree = tree(&["a/1.png", "b/2.png", "c/3.png"]);
        for folder in 0..1000 {
            fs::create_dir(tree.home.path().join(format!("c/{folder}"))).unwrap();
        }
        let mut handed_over = 0;
        let limits = Limits {
            entries: 600,
            ..LIMITS
        };
        let count = |_| {
            handed_over += 1;
            true
        };
        let listing = survey_within(limits, &tree.route, None, |_| (), count, |_, _| ());
        let unseen = listing.unwrap().gaps.told().unwrap();
        assert!(
            unseen.contains("more than 600 files and folders"),
            "{unseen}"
        );
        assert_eq!(handed_over, 2, "also where there is no file");
    }

    /// What lies in a folder at the moment in which its watch is set has to be listed: nothing else tells
    /// of it.
    #[test]
    fn what_is_there_when_a_folder_is_entered_is_listed() {
        let tree = tree(&["a/b/1.png", "c/2.png"]);
        let (mut entered, mut found) = (Vec::new(), Vec::new());
        let entering = |folder: &Path| {
            entered.push(folder.to_owned());
            fs::write(folder.join("late.png"), "x").unwrap();
        };
        let hand_over = |files: Vec<Found>| {
            found.extend(files.into_iter().map(|file| file.path.to_string()));
            true
        };
        walk(&tree.route, None, entering, hand_over).unwrap();
        found.sort();
        let all = [
            "a/b/1.png",
            "a/b/late.png",
            "a/late.png",
            "c/2.png",
            "c/late.png",
            "late.png",
        ];
        assert_eq!(found, all);
        entered.sort();
        let home = tree.home.path();
        assert_eq!(
            entered,
            [
                home.to_owned(),
                home.join("a"),
                home.join("a/b"),
                home.join("c")
            ]
        );
    }

    #[test]
    fn a_part_that_is_listed_again_takes_the_place_of_its_gaps() {
        let gaps = |paths: &[&str]| {
            let mut gaps = Gaps::default();
            for path in paths {
                gaps.add(Path::new(path), "shut".into(), true);
            }
            gaps
        };
        let mut all = gaps(&["/in/a/1", "/in/a/2", "/in/b"]);
        assert_eq!(all.told().unwrap(), "/in/a/1: shut; and 2 more");
        all.renew(Path::new("/in/a"), gaps(&["/in/a/2"]));
        assert_eq!(all.told().unwrap(), "/in/a/2: shut; and 1 more");
        all.renew(Path::new("/in/a/2"), gaps(&[]));
        assert_eq!(all.told().unwrap(), "/in/b: shut");
        all.renew(Path::new("/in/b"), gaps(&[]));
        assert_eq!(all.told(), None);
    }

    #[test]
    fn of_many_gaps_a_few_are_known_by_name() {
        let mut gaps = Gaps::default();
        for number in 0..=GAPS_MOST {
            gaps.add(Path::new(&format!("/in/{number:03}")), "shut".into(), true);
        }
        assert_eq!(gaps.passing().count(), GAPS_MOST);
        assert_eq!(gaps.told().unwrap(), "/in/000: shut; and 64 more");
    }
}
