//! Versions of pictures as the store meets them, for the benchmarks of the store: what intake and lane do
//! for each, without folder and API.

// Each benchmark uses its own part.
#![allow(dead_code)]

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use pixcell::config::{MappingName, SheetRef, SpreadsheetRef};
use pixcell::image::{ContentHash, Format};
use pixcell::intake::{Offer, decide};
use pixcell::placement::{RelPath, Slot, SlotAddress};
use pixcell::store::{
    Arrival, FileKey, FileRecord, Fingerprint, Seen, Store, Target, Timestamp, Unsettled,
};
use tokio::runtime::Runtime;

/// One lane's pictures: as many slots, written in turn.
pub struct Versions {
    lane: SpreadsheetRef,
    document: &'static str,
    slots: u64,
    turn: u64,
}

/// How long each step of a picture took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps {
    /// Taken from its file.
    pub taken: Duration,
    /// Its call begun.
    pub begun: Duration,
    /// Its receipt recorded.
    pub received: Duration,
}

impl Versions {
    /// Of the document with this token, after so many earlier ones.
    pub fn new(document: &'static str, slots: u64, turn: u64) -> Self {
        Self {
            lane: SpreadsheetRef::Token(document.parse().expect("a token")),
            document,
            slots,
            turn,
        }
    }

    /// The next version of the next slot comes, and waits.
    pub fn take(&mut self, store: &Store) {
        self.turn += 1;
        let row = self.turn % self.slots + 1;
        let address = SlotAddress {
            spreadsheet: self.lane.clone(),
            sheet: SheetRef::First,
            slot: Slot::Cell(format!("B{row}").parse().expect("a cell")),
        };
        let line = self.document.bytes().last().map_or('a', char::from);
        let path = format!("line-{line}/2026-11-22/camera-{row:06}.jpg");
        let key = FileKey {
            mapping: MappingName::try_from("lobby".to_owned()).expect("a name"),
            path: RelPath::new(Path::new(&path)).expect("a path"),
        };
        let hash = ContentHash::of(format!("{path} {}", self.turn).as_bytes());
        let now = Timestamp::now();
        // As large as real ones are.
        let nanos = i64::try_from(now.0).expect("this age") * 1_000_000;
        let fingerprint = Fingerprint {
            device: 2049,
            inode: 1_000_000 + self.turn,
            size: 200_000,
            mtime: nanos,
            ctime: nanos,
        };
        let record = FileRecord {
            fingerprint,
            slot: Some(address.clone()),
            seen: Seen::Image {
                hash,
                format: Format::Jpeg,
                arrival: None,
            },
            at: now,
        };
        let offer = Offer {
            id: store.next_id().expect("an id"),
            hash,
            format: Format::Jpeg,
            fingerprint,
            source: key.clone(),
            arrival: Arrival {
                epoch: store.epoch(),
                tick: self.turn,
                mtime: 0,
                name: Vec::new(),
            },
            now,
            min_interval: Duration::ZERO,
        };
        store
            .take_image(&key, &record, &address, move |slot| decide(slot, &offer))
            .expect("a recorded image");
    }

    /// The next version comes and is sent.
    pub fn send(&mut self, store: &Store) -> Steps {
        let start = Instant::now();
        self.take(store);
        let taken = start.elapsed();
        let waiting = store.next(&self.lane).expect("a queue").expect("a job");
        let now = Timestamp::now();
        let start = Instant::now();
        let begun = store.begin(&waiting.address, &waiting.job, now);
        let intent = begun.expect("a recorded beginning").expect("no newer one");
        settle(store, intent);
        let begun = start.elapsed();
        let Slot::Cell(cell) = waiting.address.slot else {
            unreachable!("all slots are cells");
        };
        let target = Target {
            spreadsheet: self.document.parse().expect("a token"),
            sheet: "Q7PlXT".parse().expect("a sheet's id"),
            cell,
        };
        let start = Instant::now();
        let revision = Some(self.turn);
        let receipt = store
            .written(&waiting.address, &waiting.job, &target, revision, now, now)
            .expect("a receipt");
        settle(store, receipt);
        Steps {
            taken,
            begun,
            received: start.elapsed(),
        }
    }
}

/// Waits until it is on disk, as a lane does.
fn settle(store: &Store, unsettled: Unsettled) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    RUNTIME.block_on(store.settle(unsettled)).expect("a sync");
}
