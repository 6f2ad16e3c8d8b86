//! Records for tests: the least that makes each valid.

use std::path::Path;

use super::db::{Store, Unsettled};
use super::record::{Arrival, FileKey, Fingerprint, Job, JobState, Target, Timestamp};
use crate::config::{MappingName, SheetRef, SpreadsheetRef};
use crate::image::{ContentHash, Format};
use crate::placement::{RelPath, Slot, SlotAddress};

pub(crate) fn arrival(tick: u64) -> Arrival {
    Arrival {
        epoch: 1,
        tick,
        mtime: 0,
        name: Vec::new(),
    }
}

pub(crate) fn file(name: &str) -> FileKey {
    FileKey {
        mapping: MappingName::try_from("lobby".to_owned()).unwrap(),
        path: RelPath::new(Path::new(name)).unwrap(),
    }
}

pub(crate) fn address(cell: &str) -> SlotAddress {
    SlotAddress {
        spreadsheet: SpreadsheetRef::Token("Tok1".parse().unwrap()),
        sheet: SheetRef::First,
        slot: Slot::Cell(cell.parse().unwrap()),
    }
}

pub(crate) fn target() -> Target {
    Target {
        spreadsheet: "Tok1".parse().unwrap(),
        sheet: "Q7PlXT".parse().unwrap(),
        cell: "B2".parse().unwrap(),
    }
}

pub(crate) fn job(id: u64, content: &str) -> Job {
    Job {
        id,
        hash: ContentHash::of(content.as_bytes()),
        format: Format::Png,
        fingerprint: Fingerprint {
            device: 1,
            inode: id,
            size: 3,
            mtime: 4,
            ctime: 5,
        },
        source: file("a.png"),
        arrival: arrival(id),
        since: Timestamp(1),
        attempts: 0,
        state: JobState::Queued { due: Timestamp(0) },
    }
}

/// Waits until it is on disk.
pub(crate) fn settle(store: &Store, unsettled: Unsettled) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(store.settle(unsettled)).unwrap();
}
