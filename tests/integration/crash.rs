//! Killed at any instant, it loses nothing, and sends at most the calls that were in flight again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use pixcell::image::ContentHash;
use pixcell::sandbox::{Cell, DocumentSpec, Endpoint, Fault, SheetSpec, State};

use crate::support::{
    DOC, Judge, Known, Mapping, Random, Rig, SHEET, Signal, document, jpeg, png, seed,
    with_comments,
};

/// How often it is killed; `PIXCELL_TEST_KILLS` says otherwise. The long form has 200.
const KILLS: u64 = 10;
/// What the kills left undone takes as long as the machine needs; but after so long without a write it is
/// stuck.
const STUCK: Duration = Duration::from_mins(1);
/// Cells that get one picture each, between two kills.
const ONCE: u32 = 8;
/// Cells that are rewritten all the time.
const BUSY: u64 = 4;
/// What the judge calls the slots of these cells, and of the files that are given rows.
const BUSY_SLOT: usize = 100_000;
const ROW_SLOT: usize = 200_000;

#[test]
fn kills_at_random_moments_lose_no_picture_and_repeat_only_calls_in_flight() {
    let kills = std::env::var("PIXCELL_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(seed());
    let mut rig = Rig::with(|plan| {
        // The sheets have a row for each picture of the long form.
        let rows = u32::try_from(kills).unwrap() * ONCE + 200;
        let large = |token| {
            let sheet = SheetSpec::new(SHEET, "Lobby").grid(rows, 20);
            DocumentSpec::new(token).sheet(sheet)
        };
        plan.sandbox.documents = vec![large(DOC), document("DocBusy"), large("DocRows")];
        plan.mappings.push(Mapping::new("busy", "busy", "DocBusy"));
        let rule = r#"{ files: "row-*.png", append: { column: B, first_row: 2 } }"#;
        plan.mappings
            .push(Mapping::new("rows", "rows", "DocRows").place(rule));
        // So that there is nearly always a call in flight.
        plan.sandbox.latency = Duration::from_millis(10);
        // A start every second lists sheets more often than 100 times a minute.
        plan.sandbox.own_limits = false;
    });
    for folder in ["busy", "rows"] {
        fs::create_dir(rig.path(folder)).unwrap();
    }
    let (mut once, mut versions, mut row) = (0, 0, 0);
    let (mut known, mut judge) = (Known::new(), Judge::default());
    let (mut before_effect, mut before_receipt) = (0, 0);
    let mut newest = BTreeMap::new();
    for kill in 0..kills {
        rig.start_unready();
        for _ in 0..ONCE {
            once += 1;
            let bytes = png(once);
            known.insert(ContentHash::of(&bytes), (once as usize, 1));
            rig.drop_file(format!("B{once}.png"), &bytes);
            versions += 1;
            let (cell, bytes) = (1 + random.below(BUSY), jpeg(1_000_000 + versions));
            known.insert(
                ContentHash::of(&bytes),
                (BUSY_SLOT + usize::try_from(cell).unwrap(), versions),
            );
            fs::write(rig.path(format!("busy/C{cell}.jpg")), &bytes).unwrap();
            newest.insert(format!("C{cell}"), bytes);
        }
        for _ in 0..2 {
            row += 1;
            let bytes = png(2_000_000 + row);
            known.insert(ContentHash::of(&bytes), (ROW_SLOT + row as usize, 1));
            fs::write(rig.path(format!("rows/row-{row}.png")), &bytes).unwrap();
        }
        // Every third time a picture that takes a while to hash and to send.
        if kill % 3 == 0 {
            versions += 1;
            let bytes = with_comments(&jpeg(1_000_000 + versions), 3_000_000);
            known.insert(ContentHash::of(&bytes), (BUSY_SLOT + 9, versions));
            fs::write(rig.path("busy/C9.jpg"), &bytes).unwrap();
            newest.insert("C9".to_owned(), bytes);
        }
        // Every fourth time while it takes a configuration up; before it is ready, SIGHUP would be a kill.
        if kill % 4 == 0 {
            rig.daemon_mut().wait_told("READY=1");
            rig.daemon().signal(Signal::HUP);
        }
        // A random moment: after so many changes in the sandbox, or so long; while starting, sending
        // or idle. Every other time shortly after an answer, while its receipt is written and flushed.
        let (changes, limit) = (random.below(60), Duration::from_millis(random.below(900)));
        rig.meanwhile(changes, limit);
        if kill % 2 == 0 {
            rig.after_an_answer(Duration::from_secs(1));
            std::thread::park_timeout(Duration::from_micros(random.below(6_000)));
        }
        // A kill is no damage, and never taken for any.
        assert!(!rig.daemon().has_line(&["the store was lost or damaged"]));
        rig.kill();
        let met = judge.killed(&rig);
        before_effect += met.before_effect;
        before_receipt += met.before_receipt;
        judge.look(&rig.state(), &known);
    }
    rig.start();
    assert!(!rig.daemon().has_line(&["the store was lost or damaged"]));
    // What every cell is to hold in the end; of `append` the files choose no cell, but each has one.
    let mut expected: BTreeMap<(&str, String), ContentHash> = BTreeMap::new();
    for row in 1..=once {
        expected.insert((DOC, format!("B{row}")), ContentHash::of(&png(row)));
    }
    for (cell, bytes) in &newest {
        expected.insert(("DocBusy", cell.clone()), ContentHash::of(bytes));
    }
    let rows: BTreeSet<_> = (1..=row)
        .map(|row| ContentHash::of(&png(2_000_000 + row)))
        .collect();
    let all_there = |state: &State| {
        let images = state.sheet("DocRows", SHEET).unwrap().cells.values();
        let images: Vec<_> = images
            .filter_map(|cell| match cell {
                Cell::Image(image) => Some(image.hash),
                Cell::Value { .. } => None,
            })
            .collect();
        images.len() == rows.len()
            && images.into_iter().collect::<BTreeSet<_>>() == rows
            && expected.iter().all(|((document, cell), hash)| {
                let image = state.image(document, SHEET, cell);
                image.is_some_and(|image| image.hash == *hash)
            })
    };
    let mut last = (judge.writes, Instant::now());
    loop {
        let state = rig.state();
        judge.look(&state, &known);
        if all_there(&state) {
            break;
        }
        if judge.writes > last.0 {
            last = (judge.writes, Instant::now());
        }
        assert!(
            last.1.elapsed() < STUCK,
            "not all is there, and nothing is written for {STUCK:?}"
        );
        rig.meanwhile(200, Duration::from_secs(1));
    }
    rig.fence();
    rig.stop();
    let totals = rig.status()["totals"].clone();
    assert_eq!(
        (&totals["queued"], &totals["parked"]),
        (&0.into(), &0.into())
    );
    // Still there, after everything that was to be sent has been.
    let state = rig.state();
    assert!(all_there(&state));
    judge.look(&state, &known);

    // Each call in flight at a kill may be repeated once; nothing else was, or the judge had said so.
    println!(
        "{kills} kills met {before_effect} calls before their effect and {before_receipt} before their receipt; \
         {} writes, {} of them repeated; {once} pictures once, {versions} versions, {row} rows",
        judge.writes, judge.repeats
    );
    assert!(judge.repeats <= before_receipt, "{} repeats", judge.repeats);
    assert!(kills < 100 || (before_effect > 0 && before_receipt > 0));
    // And nothing is left to repeat.
    let calls = rig.calls(Endpoint::ValuesImage);
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
