//! systemd's watchdog: it is told that all is well while everything moves or waits for something outside,
//! and no longer once the daemon hangs. And what needs no systemd: a task that panics is started anew.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pixcell::sandbox::{Endpoint, Fault};

use crate::support::{DOC, LIMIT, Mapping, Rig, document, pause, png};

const ALIVE: &str = "WATCHDOG=1";
/// Of systemd's, in microseconds: one ping every 100 ms, and no step is overdue before 5 s.
const PERIOD: &str = "400000";

/// A library to be preloaded: `hang` makes a daemon's disk hang while the file `$HANG` exists, `threads`
/// refuses a thread.
fn library(name: &str) -> PathBuf {
    let source = format!("{}/tests/fixtures/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Several test processes may do this at once.
    let made = folder.join(format!("{name}-{}.so", std::process::id()));
    let library = folder.join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([made.as_os_str(), source.as_ref()])
        .arg("-ldl")
        .status();
    assert!(compiled.expect("a C compiler").success());
    fs::rename(made, &library).unwrap();
    library
}

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

#[test]
fn a_task_that_panics_is_started_anew_and_no_picture_is_lost() {
    let mut rig = Rig::new();
    rig.plan.panics = true;
    rig.plan.env = vec![
        ("LD_PRELOAD", library("threads").display().to_string()),
        ("REFUSE", rig.path("refuse").display().to_string()),
    ];
    rig.start();
    // Many at once, until one makes the daemon ask for a thread: the task that asks panics.
    let (refuse, end, mut number) = (rig.path("refuse"), Instant::now() + LIMIT, 0);
    fs::write(&refuse, "").unwrap();
    while refuse.exists() {
        assert!(Instant::now() < end, "no thread was asked for");
        for row in 2..20 {
            number += 1;
            rig.drop_file(format!("B{row}.png"), &png(number));
        }
        pause();
    }
    rig.warned(&[" panicked: "]);
    rig.warned(&["all tasks start anew in"]);
    for (nth, row) in (2..20).rev().enumerate() {
        let last = png(number - u32::try_from(nth).unwrap());
        rig.expect(&format!("B{row}"), &last);
    }
    rig.stop();
}
