//! Memory does not grow with the size of pictures, nor with what waits while nothing can be sent.
//!
//! Peaks of resident memory, told by the kernel, and margins far below what holding one picture would
//! take; the figures themselves are taken by `benches/figures.rs`.

use std::fs;

use rstest::rstest;

use crate::support::{Rig, jpeg, with_comments};

const LARGE: usize = 19_000_000;
/// Buffers, threads and what the allocator keeps, in KiB; a picture held whole would take twice that.
const MARGIN: u64 = 9 * 1024;

/// The most that was ever resident, in KiB.
fn peak(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.daemon().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse().unwrap()
}

#[rstest]
#[case::base64("base64")]
#[case::array("array")]
fn a_picture_of_19_mb_takes_no_more_memory_than_a_small_one(#[case] encoding: &str) {
    let mut rig = Rig::with(|plan| {
        let line = format!("image_encoding: {encoding}");
        plan.feishu.push(line);
    });
    rig.start();
    for number in 1..=3 {
        rig.drop_file("B2.jpg", &with_comments(&jpeg(number), 400_000));
        rig.expect("B2", &with_comments(&jpeg(number), 400_000));
    }
    let small = peak(&rig);
    let large = with_comments(&jpeg(4), LARGE);
    rig.drop_file("B2.jpg", &large);
    rig.expect("B2", &large);
    let grown = peak(&rig) - small;
    assert!(grown < MARGIN, "{grown} KiB more than {small} KiB");
    rig.stop();
}

#[test]
fn what_waits_during_an_outage_is_one_version_a_slot_and_no_picture_is_in_memory() {
    let mut rig = Rig::started();
    rig.drop_file("B2.jpg", &jpeg(1));
    rig.expect("B2", &jpeg(1));
    let small = peak(&rig);
    rig.hold_writes();
    // 80 MB of pictures in all.
    let large = |number: u32| with_comments(&jpeg(number), 1_000_000);
    for number in 0..80 {
        rig.drop_file(format!("C{}.jpg", 2 + number % 8), &large(100 + number));
    }
    for number in 72..80 {
        rig.wait_queued(&format!("C{}.jpg", 2 + number % 8), &large(100 + number));
    }
    let status = rig.wait_status("each slot waits", |status| status["totals"]["queued"] == 8);
    assert_eq!(status["totals"]["stale"], 0);
    let grown = peak(&rig) - small;
    assert!(grown < MARGIN, "{grown} KiB more than {small} KiB");
    rig.sandbox().release();
    for number in 72..80 {
        rig.expect(&format!("C{}", 2 + number % 8), &large(100 + number));
    }
    rig.stop();
}
