//! systemd's watchdog: it is told that all is well while everything moves or waits for something outside,
//! and no longer once the daemon hangs. And what needs no systemd: a task that panics is started anew.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pixcell::sandbox::{Endpoint, Fault};

use crate::support::{DOC, Mapping, Rig, document, library, png};

const ALIVE: &str = "WATCHDOG=1";
/// Of systemd's, in microseconds: one ping every 100 ms, and no step is overdue before 5 s.
const PERIOD: &str = "400000";

#[test]
fn pings_end_when_the_disk_hangs_and_come_again_when_it_goes_on() {
    let mut rig = Rig::new();
    let hang = rig.path("hang");
    rig.plan.env = vec![
        ("WATCHDOG_USEC", PERIOD.into()),
        ("LD_PRELOAD", library("hang").display().to_string()),
        ("HANG", hang.display().to_string()),
    ];
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.daemon_mut().wait_told(ALIVE);
    fs::write(&hang, "").unwrap();
    rig.drop_file("B2.png", &png(2));
    let line = rig.warned(&["does not move", "systemd"]);
    assert!(line.contains(&format!("the lane of {DOC}")), "{line}");
    // Ten pings.
    rig.daemon_mut().not_told(ALIVE, Duration::from_secs(1));
    // Nothing is gone by a hang that passes.
    fs::remove_file(&hang).unwrap();
    rig.daemon().wait_line(&["everything moves again"]);
    rig.daemon_mut().wait_told(ALIVE);
    rig.expect("B2", &png(2));
    rig.finish(2);
}

#[test]
fn a_slow_call_a_closed_gate_and_a_missing_folder_are_no_reason_to_end_it() {
    let mut rig = Rig::with(|plan| {
        plan.env = vec![("WATCHDOG_USEC", PERIOD.into())];
        plan.sandbox.documents.push(document("DocGate"));
        plan.mappings.extend([
            Mapping::new("gate", "gate", "DocGate"),
            Mapping::new("gone", "gone", "DocGate"),
        ]);
    });
    fs::create_dir(rig.path("gate")).unwrap();
    rig.start();
    let refused = Fault::on(Endpoint::ValuesImage).spreadsheet("DocGate");
    rig.fault(refused.answer(403, 91_403, "no permission"));
    fs::write(rig.path("gate/B2.png"), png(1)).unwrap();
    rig.warned(&["nothing is sent for this spreadsheet"]);
    rig.hold_writes();
    rig.drop_file("B2.png", &png(2));
    rig.wait_held();
    // Longer than any step may take that is none of these.
    for _ in 0..60 {
        rig.daemon_mut().wait_told(ALIVE);
    }
    assert!(!rig.daemon().has_line(&["does not move"]));
    rig.sandbox().release();
    rig.expect("B2", &png(2));
    rig.stop();
    assert_eq!(rig.calls(Endpoint::ValuesImage), 2);
}

/// A daemon that gets no further thread while the file exists. It is so slow that its calls wait for their
/// turn, for which a thread is asked for.
fn slow_and_refused() -> (Rig, PathBuf) {
    let mut rig = Rig::with(|plan| plan.feishu.push("requests_per_second: 1".into()));
    let refuse = rig.path("refuse");
    rig.plan.panics = true;
    rig.plan.env = vec![
        ("WATCHDOG_USEC", PERIOD.into()),
        ("LD_PRELOAD", library("threads").display().to_string()),
        ("REFUSE", refuse.display().to_string()),
    ];
    (rig, refuse)
}

/// Enough that on the busiest machine some call comes too early for its turn.
const ROWS: std::ops::Range<u32> = 2..10;

fn drop_some(rig: &Rig) {
    for row in ROWS {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
}

#[track_caller]
fn expect_some(rig: &Rig) {
    for row in ROWS {
        rig.expect(&format!("B{row}"), &png(row));
    }
}

#[test]
fn a_task_that_panics_is_started_anew_and_no_picture_is_lost() {
    let (mut rig, refuse) = slow_and_refused();
    rig.start();
    fs::write(&refuse, "").unwrap();
    drop_some(&rig);
    rig.warned(&["all tasks start anew in"]);
    fs::remove_file(refuse).unwrap();
    rig.warned(&[" panicked: "]);
    expect_some(&rig);
    rig.drop_file("C2.png", &png(1));
    rig.expect("C2", &png(1));
    // Whatever it was that panicked.
    rig.daemon_mut().forget_told();
    rig.daemon_mut().wait_told(ALIVE);
    rig.stop();
}

#[test]
fn the_fifth_panic_within_a_minute_ends_it_with_exit_code_1_and_the_tasks_name() {
    let (mut rig, refuse) = slow_and_refused();
    rig.start();
    fs::write(&refuse, "").unwrap();
    drop_some(&rig);
    let ended = rig.end().with_code(1);
    let restarts = ended.stderr.matches("all tasks start anew in").count();
    assert_eq!(restarts, 4, "{ended}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("pixcell: the ") && last.contains(" panicked: "),
        "{ended}"
    );
    // A service manager starts it again, and nothing is lost.
    fs::remove_file(refuse).unwrap();
    rig.start();
    expect_some(&rig);
    rig.stop();
}
