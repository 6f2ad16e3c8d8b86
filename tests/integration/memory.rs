//! Memory does not grow with the size of pictures, nor with what waits while nothing can be sent.
//!
//! Of the resident memory only what the process filled itself is looked at: how much of the program is
//! mapped depends on the machine. The allocator keeps nothing back for later, which depends on how many
//! threads happened to work at once. Margins are far below what holding one picture would take; the figures
//! themselves are taken by `benches/figures.rs`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rstest::rstest;

use crate::support::{Plan, Rig, jpeg, with_comments};

const LARGE: usize = 19_000_000;
/// Buffers, threads and what the allocator keeps, in KiB; a picture held whole takes 18,500 at least.
const MARGIN: u64 = 14 * 1024;

/// A rig whose daemon gives memory back as soon as it is free: see mallopt(3).
fn frugal(more: impl FnOnce(&mut Plan)) -> Rig {
    let mut rig = Rig::with(|plan| {
        for (name, value) in [
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_MMAP_THRESHOLD_", "65536"),
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ] {
            plan.env.push((name, value.into()));
        }
        more(plan);
    });
    rig.start();
    rig
}

/// What the daemon has filled of its memory, in KiB.
fn filled(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.daemon().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse().unwrap()
}

/// Set when it goes, by a panic too.
struct SetWhenGone<'a>(&'a AtomicBool);

impl Drop for SetWhenGone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most that [`filled`] tells before and while `doing` goes on.
fn most_filled(rig: &Rig, doing: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = SetWhenGone(&over);
        let watching = scope.spawn(|| {
            let mut most = filled(rig);
            while !over.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_millis(2));
                most = most.max(filled(rig));
            }
            most
        });
        doing();
        drop(done);
        watching.join().unwrap()
    })
}

#[track_caller]
fn assert_grown_little(small: u64, large: u64) {
    let grown = large.saturating_sub(small);
    assert!(grown < MARGIN, "{grown} KiB more than {small} KiB");
}

#[rstest]
#[case::base64("base64")]
#[case::array("array")]
fn a_picture_of_19_mb_takes_no_more_memory_than_a_small_one(#[case] encoding: &str) {
    let mut rig = frugal(|plan| {
        let line = format!("image_encoding: {encoding}");
        plan.feishu.push(line);
    });
    let send = |picture: &[u8]| {
        rig.drop_file("B2.jpg", picture);
        rig.expect("B2", picture);
    };
    let small = most_filled(&rig, || {
        for number in 1..=3 {
            send(&with_comments(&jpeg(number), 400_000));
        }
    });
    let large = with_comments(&jpeg(4), LARGE);
    assert_grown_little(small, most_filled(&rig, || send(&large)));
    rig.stop();
}

#[test]
fn what_waits_during_an_outage_is_one_version_a_slot_and_no_picture_is_in_memory() {
    let mut rig = frugal(|_| ());
    rig.drop_file("B2.jpg", &jpeg(1));
    rig.expect("B2", &jpeg(1));
    let small = filled(&rig);
    rig.hold_writes();
    // 80 MB of pictures in all.
    let large = |number: u32| with_comments(&jpeg(number), 1_000_000);
    let most = most_filled(&rig, || {
        for number in 0..80 {
            rig.drop_file(format!("C{}.jpg", 2 + number % 8), &large(100 + number));
        }
        for number in 72..80 {
            rig.wait_queued(&format!("C{}.jpg", 2 + number % 8), &large(100 + number));
        }
    });
    let status = rig.wait_status("each slot waits", |status| status["totals"]["queued"] == 8);
    assert_eq!(status["totals"]["stale"], 0);
    assert_grown_little(small, most);
    rig.sandbox().release();
    for number in 72..80 {
        rig.expect(&format!("C{}", 2 + number % 8), &large(100 + number));
    }
    rig.stop();
}
