//! Question: what does the store add to one picture, from its hash to its receipt on disk?
//!
//! Beside it: the fsync of a small append in the same folder, which is the floor of a durable receipt.
//! The folder lies in cargo's target directory, so on a disk; a tmpfs would cost nothing to sync.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pixcell::config::{MappingName, SheetRef, SpreadsheetRef};
use pixcell::image::{ContentHash, Format};
use pixcell::intake::{Offer, decide};
use pixcell::placement::{RelPath, Slot, SlotAddress};
use pixcell::store::{
    self, Arrival, FileKey, FileRecord, Fingerprint, Seen, Store, Target, Timestamp,
};

const SLOTS: u32 = 1000;

/// The `turn`-th version of a picture: where it goes, its file, its content.
fn version(turn: u64) -> (SlotAddress, FileKey, ContentHash) {
    let row = turn % u64::from(SLOTS) + 1;
    let address = SlotAddress {
        spreadsheet: SpreadsheetRef::Token("Token".parse().expect("a token")),
        sheet: SheetRef::First,
        slot: Slot::Cell(format!("B{row}").parse().expect("a cell")),
    };
    let key = FileKey {
        mapping: MappingName::try_from("lobby".to_owned()).expect("a name"),
        path: RelPath::new(Path::new(&format!("camera-{row}.jpg"))).expect("a path"),
    };
    (address, key, ContentHash::of(&turn.to_le_bytes()))
}

/// What intake and lane do with the store for one picture.
fn one_picture(store: &Store, turn: u64, durable: bool) {
    let (address, key, hash) = version(turn);
    let now = Timestamp::now();
    let fingerprint = Fingerprint {
        inode: turn,
        ..Fingerprint::UNKNOWN
    };
    let record = FileRecord {
        fingerprint,
        slot: Some(address.clone()),
        seen: Seen::Image {
            hash,
            format: Format::Jpeg,
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
            tick: turn,
            mtime: 0,
            name: Vec::new(),
        },
        now,
        min_interval: Duration::ZERO,
    };
    store
        .take_image(&key, &record, &address, |slot| decide(slot, &offer))
        .expect("a recorded image");
    if !durable {
        return;
    }
    let waiting = store
        .next(&address.spreadsheet)
        .expect("a queue")
        .expect("a job");
    let begun = store.begin(&waiting.address, &waiting.job, now);
    assert!(begun.expect("a recorded beginning"));
    let Slot::Cell(cell) = waiting.address.slot else {
        return;
    };
    let target = Target {
        spreadsheet: "Token".parse().expect("a token"),
        sheet: "Q7PlXT".parse().expect("a sheet's id"),
        cell,
    };
    store
        .written(
            &waiting.address,
            &waiting.job,
            &target,
            Some(turn),
            now,
            now,
        )
        .expect("a receipt");
}

fn store(criterion: &mut Criterion) {
    let folder = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (state, other) = (folder(), folder());
    let store = store::open(state.path()).expect("a store").store;
    let mut turn = 0;
    criterion.bench_function("an image, its call begun, its receipt on disk", |bench| {
        bench.iter(|| {
            turn += 1;
            one_picture(&store, turn, true);
        });
    });
    let mut file = File::create(other.path().join("log")).expect("a file");
    criterion.bench_function(
        "one 512-byte append with fdatasync, for comparison",
        |bench| {
            bench.iter(|| {
                file.write_all(&[7; 512]).expect("a write");
                file.sync_data().expect("a sync");
            });
        },
    );
    criterion.bench_function("an image taken, not yet on disk", |bench| {
        bench.iter(|| {
            turn += 1;
            one_picture(&store, turn, false);
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = store
}
criterion_main!(benches);
