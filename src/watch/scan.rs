//! Listing a folder: every regular file below it with its fingerprint, in batches. Opens no file and
//! follows no link. Blocks: runs on a thread of its own.

use std::path::Path;

use walkdir::WalkDir;

use super::candidate::Found;
use crate::placement::{RelPath, Route};
use crate::store::Fingerprint;

/// Files handed over at a time.
pub const BATCH: usize = 512;
/// Deeper folders are not entered: a tree that deep is a mistake or a trap.
const DEEPEST: usize = 64;

/// Lists the files at or below `below`, or of the whole folder. `hand_over` returns whether to go on.
/// `true` when everything was seen.
pub fn walk(
    route: &Route,
    below: Option<&RelPath>,
    hand_over: impl FnMut(Vec<Found>) -> bool,
) -> bool {
    survey(route, below, hand_over, |_, _| ())
}

/// The same, and tells of each folder that is not entered, with the pattern that ignores all of it.
pub fn survey(
    route: &Route,
    below: Option<&RelPath>,
    mut hand_over: impl FnMut(Vec<Found>) -> bool,
    mut left_out: impl FnMut(&RelPath, &str),
) -> bool {
    let folder = &route.mapping.folder;
    let top = below.map_or_else(|| folder.clone(), |below| folder.join(below.as_path()));
    let depth = match (route.mapping.recursive, below) {
        (true, _) => DEEPEST,
        (false, None) => 1,
        // The path itself, when it is a file; if it is a folder, its files are not for this mapping.
        (false, Some(_)) => 0,
    };
    let relative = |path: &Path| path.strip_prefix(folder).ok().and_then(RelPath::new);
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
    let mut whole = true;
    for entry in entries {
        // Gone since it was listed is no gap; anything else is.
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                whole &= is_gone(&error);
                continue;
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let Some(path) = relative(entry.path()) else {
            continue;
        };
        match entry.metadata() {
            Ok(meta) => batch.push(Found {
                path,
                fingerprint: Fingerprint::of(&meta),
            }),
            Err(error) => whole &= is_gone(&error),
        }
        if batch.len() == BATCH && !hand_over(std::mem::take(&mut batch)) {
            return false;
        }
    }
    if !batch.is_empty() {
        whole &= hand_over(batch);
    }
    whole
}

fn is_gone(error: &walkdir::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
