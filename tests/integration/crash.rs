//! Killed at any instant, it loses nothing, and sends at most the calls that were in flight again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use pixcell::sandbox::{DocumentSpec, Endpoint, Fault, SheetSpec};

use crate::support::{DOC, Mapping, Random, Rig, SHEET, Signal, document, jpeg, png};

/// How often it is killed; `PIXCELL_TEST_KILLS` says otherwise. The long form has 200.
const KILLS: u64 = 10;
/// Cells that get one picture each, between two kills.
const ONCE: u32 = 8;
/// Cells that are rewritten all the time.
const BUSY: u64 = 4;

/// `PIXCELL_TEST_SEED`, or another seed every time; printed either way.
fn seed() -> u64 {
    let given = std::env::var("PIXCELL_TEST_SEED").ok();
    let seed = given.map_or_else(Random::any_seed, |text| text.parse().unwrap());
    println!("seed: run again with PIXCELL_TEST_SEED={seed}");
    seed
}

/// The same picture with so many bytes of comments, as a JPEG may hold.
fn with_comments(jpeg: &[u8], bytes: usize) -> Vec<u8> {
    let comment = [vec![0xff, 0xfe, 0xff, 0xff], vec![b'.'; 0xfffd]].concat();
    let (start, rest) = jpeg.split_at(2);
    [start, &comment.repeat(bytes / comment.len()), rest].concat()
}

#[test]
fn kills_at_random_moments_lose_no_picture_and_repeat_only_calls_in_flight() {
    let kills = std::env::var("PIXCELL_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(seed());
    let mut rig = Rig::with(|plan| {
        // The sheet has a row for each picture of the long form.
        let sheet =
            SheetSpec::new(SHEET, "Lobby").grid(u32::try_from(kills).unwrap() * ONCE + 200, 20);
        plan.sandbox.documents = vec![DocumentSpec::new(DOC).sheet(sheet)];
        plan.sandbox.documents.push(document("DocBusy"));
        plan.mappings.push(Mapping::new("busy", "busy", "DocBusy"));
        // So that there is nearly always a call in flight.
        plan.sandbox.latency = Duration::from_millis(10);
    });
    fs::create_dir(rig.path("busy")).unwrap();
    let (mut once, mut versions) = (0, 0);
    let mut newest = BTreeMap::new();
    for kill in 0..kills {
        rig.start_unready();
        for _ in 0..ONCE {
            once += 1;
            rig.drop_file(format!("B{once}.png"), &png(once));
            versions += 1;
            let (cell, bytes) = (1 + random.below(BUSY), jpeg(1_000 + versions));
            fs::write(rig.path(format!("busy/C{cell}.jpg")), &bytes).unwrap();
            newest.insert(format!("C{cell}"), bytes);
        }
        // Every third time a picture that takes a while to hash and to send.
        if kill % 3 == 0 {
            versions += 1;
            let bytes = with_comments(&jpeg(1_000 + versions), 3_000_000);
            fs::write(rig.path("busy/C9.jpg"), &bytes).unwrap();
            newest.insert("C9".to_owned(), bytes);
        }
        // Every fourth time while it takes a configuration up; before it is ready, SIGHUP would be a kill.
        if kill % 4 == 0 {
            rig.daemon_mut().wait_told("READY=1");
            rig.daemon().signal(Signal::HUP);
        }
        // A random moment: after so many changes in the sandbox, or so long; while starting, sending
        // or idle.
        let (changes, limit) = (random.below(60), Duration::from_millis(random.below(900)));
        rig.meanwhile(changes, limit);
        // A kill is no damage, and never taken for any.
        assert!(!rig.daemon().has_line(&["the store was lost or damaged"]));
        rig.kill();
    }
    rig.start();
    assert!(!rig.daemon().has_line(&["the store was lost or damaged"]));
    let all_there = |rig: &Rig| {
        for row in 1..=once {
            rig.expect(&format!("B{row}"), &png(row));
        }
        for (cell, bytes) in &newest {
            rig.expect_in("DocBusy", cell, bytes);
        }
    };
    all_there(&rig);
    rig.fence();
    rig.stop();
    let totals = rig.status()["totals"].clone();
    assert_eq!(
        (&totals["queued"], &totals["parked"]),
        (&0.into(), &0.into())
    );
    // Still there, after everything that was to be sent has been.
    all_there(&rig);

    // A sheet's revision counts its writes, the sentinel's among them. Each picture came once, so all
    // beyond are repeats.
    let state = rig.state();
    let writes = |document| state.sheet(document, SHEET).unwrap().revision;
    let repeats = writes(DOC) - 1 - u64::from(once);
    println!(
        "{repeats} of {once} repeated; {} writes for {versions} versions",
        writes("DocBusy")
    );
    assert!(repeats <= kills, "{repeats} repeats after {kills} kills");
    assert!(writes("DocBusy") <= u64::from(versions) + kills);
    // And nothing is left to repeat.
    let calls = state.calls(Endpoint::ValuesImage);
    rig.start();
    rig.fence();
    rig.stop();
    assert_eq!(rig.calls(Endpoint::ValuesImage), calls + 1);
}

#[test]
fn a_kill_between_the_effect_and_the_receipt_costs_one_repeat() {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::ValuesImage).delay_answer(Duration::from_secs(20)));
    rig.drop_file("B2.png", &png(1));
    // In the cell, and the answer has not come.
    rig.expect("B2", &png(1));
    rig.kill();
    rig.start();
    rig.wait("sent again", |state| {
        state.sheet(DOC, SHEET).unwrap().revision == 2
    });
    rig.finish(2);
}

#[test]
fn a_kill_before_the_receipt_is_not_taken_for_the_old_content() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.fault(Fault::on(Endpoint::ValuesImage).delay_answer(Duration::from_secs(20)));
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.kill();
    // What the ledger says the cell holds comes back; the cell holds something else.
    rig.drop_file("B2.png", &png(1));
    rig.start();
    rig.expect("B2", &png(1));
    rig.finish(3);
}

#[test]
fn a_kill_while_an_older_version_is_in_flight_ends_with_the_newer() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.kill();
    rig.drop_file("B2.png", &png(2));
    rig.sandbox().release();
    rig.start();
    rig.expect("B2", &png(2));
    rig.finish(2);
    rig.expect("B2", &png(2));
}

#[test]
fn what_was_written_before_a_kill_is_not_sent_again() {
    let mut rig = Rig::started();
    for row in 1..=10 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        // Told after the receipt is recorded.
        rig.daemon()
            .wait_line(&["written", &format!("file=B{row}.png")]);
    }
    rig.kill();
    rig.start();
    rig.finish(10);
}
