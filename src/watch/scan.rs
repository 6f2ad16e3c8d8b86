//! Listing a folder: every regular file below it with its fingerprint, in batches. Opens no file and
//! follows no link; one stat a file. Blocks: runs on a thread of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

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
    mut entering: impl FnMut(&Path),
    mut hand_over: impl FnMut(Vec<Found>) -> bool,
    mut left_out: impl FnMut(&RelPath, &str),
) -> Option<Listing> {
    let folder = &route.mapping.folder;
    let top = below.map_or_else(|| folder.clone(), |below| folder.join(below.as_path()));
    let above = below.map_or(0, |below| below.as_path().components().count());
    // One level more than is entered, so that what is not entered is told.
    let depth = match (route.mapping.recursive, below) {
        (true, _) => (limits.depth + 1).saturating_sub(above),
        (false, None) => 1,
        // The path itself, when it is a file; if it is a folder, its files are not for this mapping.
        (false, Some(_)) => 0,
    };
    let folder_bytes = folder.as_os_str().as_bytes();
    let relative = |path: &Path| {
        // As paths are put together here; comparing them part by part takes as long as a stat.
        let below = path.as_os_str().as_bytes().strip_prefix(folder_bytes);
        match below.and_then(|below| below.strip_prefix(b"/")) {
            Some(below) => RelPath::new(Path::new(OsStr::from_bytes(below))),
            None => path.strip_prefix(folder).ok().and_then(RelPath::new),
        }
    };
    let entries = WalkDir::new(&top)
        .follow_links(false)
        .follow_root_links(below.is_none())
        .max_depth(depth)
        .into_iter()
        .filter_entry(|entry| {
            let Some(path) = relative(entry.path()).filter(|_| entry.file_type().is_dir()) else {
                return true;
            };
            let ignored = route.rules.folder_ignored_by(&path);
            ignored
                .inspect(|pattern| left_out(&path, pattern))
                .is_none()
        });
    let mut batch = Vec::with_capacity(BATCH);
    let mut met = Met::default();
    let mut gaps = Gaps::default();
    if below.is_none() {
        entering(folder);
    }
    for (count, entry) in entries.enumerate() {
        if count > 0 && count % BATCH == 0 && !hand_over(std::mem::take(&mut batch)) {
            return None;
        }
        if count == limits.entries {
            gaps.add(&top, format!("more than {count} files and folders"), false);
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                gaps.add_error(&top, &error);
                continue;
            }
        };
        if entry.file_type().is_dir() && route.mapping.recursive {
            if above + entry.depth() > limits.depth {
                let why = format!("more than {} levels deep", limits.depth);
                gaps.add(entry.path(), why, false);
            } else if above + entry.depth() > 0 {
                // The walk has opened it by now and not yet read it.
                entering(entry.path());
            }
        }
        if !entry.file_type().is_file() {
            continue;
        }
        let Some(path) = relative(entry.path()) else {
            continue;
        };
        match entry.metadata() {
            Ok(meta) => {
                met.add(&path);
                batch.push(Found {
                    path,
                    fingerprint: Fingerprint::of(&meta),
                });
            }
            // One gap a folder: it may be listed and not be entered.
            Err(error) => match (error.io_error(), entry.path().parent()) {
                (Some(io), Some(parent)) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                    gaps.add(parent, io.to_string(), true);
                }
                _ => gaps.add_error(&top, &error),
            },
        }
    }
    if !hand_over(batch) {
        return None;
    }
    Some(Listing { met, gaps })
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

    fn add_error(&mut self, top: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(top);
        match error.io_error() {
            // Gone since it was listed is no gap.
            Some(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Some(io) => self.add(path, io.to_string(), true),
            None => self.add(path, error.to_string(), false),
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
