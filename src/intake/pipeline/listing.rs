//! Compares a listing with what is known: what differs, and what is gone. Opens no file.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::LARGE_BYTES;
use super::look::place;
use crate::intake::read::Rest;
use crate::intake::settle::{Due, Origin};
use crate::placement::{RelPath, Route};
use crate::store::{FileKey, Fingerprint, PathHash, Store, StoreError};
use crate::watch::{Found, Met};

/// Compares a batch of a listing with what is known; opens no file.
pub(super) fn sift(
    store: &Store,
    route: &Arc<Route>,
    files: Vec<Found>,
    (tick, first): (u64, bool),
    listing: u64,
) -> Result<Vec<Due>, StoreError> {
    let places: Vec<_> = files.iter().map(|file| place(route, &file.path)).collect();
    let placed = files
        .iter()
        .zip(&places)
        .map(|(file, place)| (&file.path, &file.fingerprint, place.placed()));
    let unchanged = store.unchanged(&route.mapping.name, placed)?;
    let differ = files.into_iter().zip(unchanged);
    let differ = differ.filter(|(_, unchanged)| !unchanged);
    let due = |Found { path, fingerprint }| Due {
        route: Arc::clone(route),
        path,
        tick,
        origin: if first {
            Origin::FoundFirst(fingerprint)
        } else {
            Origin::Found(fingerprint)
        },
        rest: Rest::Unknown,
        counted: Some(listing),
        large: fingerprint.size > LARGE_BYTES,
        asked: 0,
    };
    Ok(differ.map(|(file, _)| due(file)).collect())
}

/// Known files that a listing did not find and that are not there. Only those of the file system that the
/// folder is on now: an unmounted disk is not a deletion. Nor is what a listing could not see.
pub(super) fn gone(store: &Store, route: &Route, met: &Met) -> Result<Vec<RelPath>, StoreError> {
    let mapping = &route.mapping;
    if store.all_met(&mapping.name, |path| met.contains(path))? {
        return Ok(Vec::new());
    }
    let Ok(device) = std::fs::metadata(&mapping.folder).map(|meta| meta.dev()) else {
        return Ok(Vec::new());
    };
    let is_gone = |path: &RelPath| {
        let found = mapping.folder.join(path.as_path()).symlink_metadata();
        matches!(found, Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    };
    let mut gone = Vec::new();
    for entry in store.files_of(&mapping.name) {
        let (FileKey { path, .. }, file) = entry?;
        let ours = file.fingerprint.device == device || file.fingerprint == Fingerprint::UNKNOWN;
        if ours && !met.contains(PathHash::of(&path)) && is_gone(&path) {
            gone.push(path);
        }
    }
    Ok(gone)
}
