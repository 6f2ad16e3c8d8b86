//! Question: how large is the state of many files, and does it grow while they are rewritten?
//!
//! Goal: under 150 MB on disk for 100,000 files at every moment, and no more after any number of rounds. Only the
//! store, with as many lanes as a large installation has; `FILES` and `ROUNDS` in the environment say how many.
//! Sizes do not depend on the disk: with `TMPDIR` on a tmpfs nothing is waited for.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixcell::store;

mod versions;

use versions::Versions;

/// As long as real ones.
const LANES: [&str; 10] = [
    "Iow7sNNEphp3WbtnbCscPqabcA",
    "Iow7sNNEphp3WbtnbCscPqabcB",
    "Iow7sNNEphp3WbtnbCscPqabcC",
    "Iow7sNNEphp3WbtnbCscPqabcD",
    "Iow7sNNEphp3WbtnbCscPqabcE",
    "Iow7sNNEphp3WbtnbCscPqabcF",
    "Iow7sNNEphp3WbtnbCscPqabcG",
    "Iow7sNNEphp3WbtnbCscPqabcH",
    "Iow7sNNEphp3WbtnbCscPqabcI",
    "Iow7sNNEphp3WbtnbCscPqabcJ",
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Megabytes that a folder takes on its disk.
fn megabytes(folder: &Path) -> f64 {
    let blocks: u64 = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(|entry| Some(fs::metadata(entry.ok()?.path()).ok()?.blocks()))
        .sum();
    f64::from(u32::try_from(blocks / 2).expect("less than four terabytes")) * 1024.0 / 1e6
}

/// The most that it takes until `is_over`, a start with its copy of the database as well.
fn most(folder: &Path, is_over: &AtomicBool) -> f64 {
    let mut most = 0.0_f64;
    while !is_over.load(Ordering::Relaxed) {
        most = most.max(megabytes(folder));
        thread::park_timeout(Duration::from_millis(20));
    }
    most
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let (files, rounds) = (number("FILES", 100_000), number("ROUNDS", 5));
    let state = tempfile::tempdir().expect("a folder");
    for round in 1..=rounds {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let most = scope.spawn(|| most(state.path(), &is_over));
            let said = written(state.path(), files, round);
            is_over.store(true, Ordering::Relaxed);
            println!(
                "round {round}: {said}, {:.1} MB once closed, {:.1} MB at most",
                megabytes(state.path()),
                most.join().expect("a size")
            );
        });
    }
}

/// One start, and one version of each file.
fn written(state: &Path, files: u64, round: u64) -> String {
    let (start, opened) = (Instant::now(), store::open(state).expect("a store"));
    let (opening, store) = (start.elapsed(), opened.store);
    let start = Instant::now();
    thread::scope(|scope| {
        for lane in LANES {
            let store = &store;
            scope.spawn(move || {
                let slots = files / LANES.len() as u64;
                let mut versions = Versions::new(lane, slots, round * files);
                for _ in 0..slots {
                    versions.send(store);
                }
            });
        }
    });
    let (sending, during) = (start.elapsed(), megabytes(state));
    format!("opened in {opening:.1?}; {files} pictures in {sending:.1?}; {during:.1} MB on disk")
}
