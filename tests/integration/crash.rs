//! Killed at any instant, it loses nothing, and sends at most the calls that were in flight again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pixcell::sandbox::Endpoint;

use crate::support::{DOC, Mapping, Random, Rig, SHEET, document, jpeg, png};

/// How often it is killed.
const KILLS: u64 = 10;
/// Cells that get one picture each, between two kills.
const ONCE: u32 = 8;
/// Cells that are rewritten all the time.
const BUSY: u32 = 4;

/// `PIXCELL_TEST_SEED`, or another seed every time; printed either way.
fn seed() -> u64 {
    let given = std::env::var("PIXCELL_TEST_SEED").ok();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos()
    };
    let seed = given.map_or_else(|| now() as u64, |text| text.parse().unwrap());
    println!("seed: run again with PIXCELL_TEST_SEED={seed}");
    seed
}

#[test]
fn ten_kills_at_random_moments_lose_no_picture_and_repeat_only_calls_in_flight() {
    let mut random = Random::new(seed());
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocBusy"));
        plan.mappings.push(Mapping::new("busy", "busy", "DocBusy"));
        // So that there is nearly always a call in flight.
        plan.sandbox.latency = Duration::from_millis(10);
    });
    std::fs::create_dir(rig.path("busy")).unwrap();
    let (mut once, mut versions) = (0, 0);
    let mut newest = vec![Vec::new(); BUSY as usize + 1];
    for _ in 0..KILLS {
        rig.start_unready();
        for _ in 0..ONCE {
            once += 1;
            rig.drop_file(format!("B{once}.png"), &png(once));
            versions += 1;
            let cell = 1 + random.below(u64::from(BUSY)) as u32;
            newest[cell as usize] = jpeg(1_000 + versions);
            std::fs::write(
                rig.path(format!("busy/C{cell}.jpg")),
                &newest[cell as usize],
            )
            .unwrap();
        }
        // A random moment: after so many changes in the sandbox, or so long; while starting, sending
        // or idle.
        let (changes, limit) = (random.below(60), Duration::from_millis(random.below(400)));
        rig.meanwhile(changes, limit);
        rig.kill();
    }
    rig.start();
    for row in 1..=once {
        rig.expect(&format!("B{row}"), &png(row));
    }
    for (cell, bytes) in newest
        .iter()
        .enumerate()
        .filter(|(_, bytes)| !bytes.is_empty())
    {
        rig.expect_in("DocBusy", &format!("C{cell}"), bytes);
    }
    rig.fence();
    rig.stop();
    let totals = rig.status()["totals"].clone();
    assert_eq!(
        (&totals["queued"], &totals["parked"]),
        (&0.into(), &0.into())
    );
    // Still the newest, after everything that was to be sent has been.
    for (cell, bytes) in newest
        .iter()
        .enumerate()
        .filter(|(_, bytes)| !bytes.is_empty())
    {
        rig.expect_in("DocBusy", &format!("C{cell}"), bytes);
    }
    // A sheet's revision counts its writes. Each picture came once, so all beyond are repeats.
    let state = rig.state();
    let (sentinels, written) = (1, state.sheet(DOC, SHEET).unwrap().revision - 1);
    let repeats = written - u64::from(once);
    println!(
        "{repeats} repeated of {written}, sentinels {sentinels}; {versions} versions of {BUSY} cells"
    );
    assert!(repeats <= KILLS, "{repeats} repeats after {KILLS} kills");
    let busy = state.sheet("DocBusy", SHEET).unwrap().revision;
    assert!(
        busy <= u64::from(versions) + KILLS,
        "{busy} writes of {versions} versions"
    );
    rig.start();
    rig.fence();
    rig.stop();
    assert_eq!(
        rig.state().calls(Endpoint::ValuesImage),
        state.calls(Endpoint::ValuesImage) + 1
    );
}

#[test]
fn a_kill_between_the_effect_and_the_receipt_costs_one_repeat() {
    use pixcell::sandbox::Fault;
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
