//! Question: what does the store add to one picture, from its hash to its receipt on disk, and which part
//! of that is the call's beginning, which is written through where the cell holds something?
//!
//! Beside it: the fsync of a small append in the same folder, which is the floor of a durable receipt.
//! The folder lies in cargo's target directory, so on a disk; a tmpfs would cost nothing to sync.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pixcell::store::{self, Store};

mod versions;

use versions::{Steps, Versions};

const SLOTS: u64 = 1000;

fn store(criterion: &mut Criterion) {
    let folder = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (state, other) = (folder(), folder());
    let store = store::open(state.path()).expect("a store").store;
    // One slot after the other, so that there is always one that holds nothing, or everything does.
    let (mut new, mut known) = (
        Versions::new("New", 200_000, 0),
        Versions::new("Known", SLOTS, 0),
    );
    let mut whole = |name: &str, versions: &mut Versions, part: fn(Steps) -> Duration| {
        criterion.bench_function(name, |bench| {
            bench.iter_custom(|times| (0..times).map(|_| part(versions.send(&store))).sum());
        });
    };
    let all = |steps: Steps| steps.taken + steps.begun + steps.received;
    for _ in 0..SLOTS {
        known.send(&store);
    }
    whole(
        "a picture for an empty cell, its receipt on disk",
        &mut new,
        all,
    );
    whole("a picture for a cell that holds one", &mut known, all);
    whole("of that, its call begun, on disk", &mut known, |steps| {
        steps.begun
    });
    whole("of that, its receipt on disk", &mut known, |steps| {
        steps.received
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
    taken(criterion, &store);
}

fn taken(criterion: &mut Criterion, store: &Store) {
    let mut versions = Versions::new("Taken", SLOTS, 0);
    criterion.bench_function("an image taken, not yet on disk", |bench| {
        bench.iter(|| versions.take(store));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = store
}
criterion_main!(benches);
