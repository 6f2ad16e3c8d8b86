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
/// gives it no further thread while the file `$REFUSE` exists.
fn library(name: &str) -> PathBuf {
    let source = format!("{}/tests/fixtures/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Several tests, and several test processes, may do this at once.
    let made = tempfile::NamedTempFile::new_in(&folder)
        .unwrap()
        .into_temp_path();
    let library = folder.join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([made.as_os_str(), source.as_ref()])
        .arg("-ldl")
        .status();
    assert!(compiled.expect("a C compiler").success());
    made.persist(&library).unwrap();
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

/// A daemon with several lanes of which one has had to do something, so that it has few threads.
fn few_threads() -> (Rig, PathBuf) {
    let mut rig = Rig::with(|plan| {
        plan.panics = true;
        plan.feishu.push("requests_per_second: 20".into());
        for other in OTHERS {
            plan.sandbox.documents.push(document(other));
            plan.mappings.push(Mapping::new(other, other, other));
        }
    });
    let refuse = rig.path("refuse");
    rig.plan.env = vec![
        ("WATCHDOG_USEC", PERIOD.into()),
        ("LD_PRELOAD", library("threads").display().to_string()),
        ("REFUSE", refuse.display().to_string()),
    ];
    for other in OTHERS {
        fs::create_dir(rig.path(other)).unwrap();
    }
    rig.start();
    // The pace has a thread of its own from the first time that a call waits for its turn.
    for row in 2..6 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    (rig, refuse)
}

const OTHERS: [&str; 5] = ["Doc1", "Doc2", "Doc3", "Doc4", "Doc5"];

/// Many files at once, in all folders: sooner or later a further thread is asked for.
fn drop_many(rig: &Rig, version: u32) {
    for row in 2..10 {
        rig.drop_file(format!("B{row}.png"), &png(version * 8 + row));
        for other in OTHERS {
            fs::write(
                rig.path(other).join(format!("B{row}.png")),
                png(version * 8 + row),
            )
            .unwrap();
        }
    }
}

#[track_caller]
fn expect_many(rig: &Rig, version: u32) {
    for row in 2..10 {
        for document in OTHERS.into_iter().chain([DOC]) {
            rig.expect_in(document, &format!("B{row}"), &png(version * 8 + row));
        }
    }
}

#[test]
fn a_task_that_panics_is_started_anew_and_no_picture_is_lost() {
    let (mut rig, refuse) = few_threads();
    let (end, mut version) = (Instant::now() + LIMIT, 0);
    fs::write(&refuse, "").unwrap();
    // Until something panics for it: a watcher that gets no thread goes on without.
    while !rig.daemon().has_line(&["all tasks start anew in"]) {
        assert!(Instant::now() < end, "nothing panicked");
        version += 1;
        drop_many(&rig, version);
        pause();
    }
    fs::remove_file(refuse).unwrap();
    rig.warned(&[" panicked: "]);
    expect_many(&rig, version);
    // Whatever it was that panicked.
    rig.daemon_mut().forget_told();
    rig.daemon_mut().wait_told(ALIVE);
    rig.stop();
}

#[test]
fn the_fifth_panic_within_a_minute_ends_it_with_exit_code_1_and_the_tasks_name() {
    let (mut rig, refuse) = few_threads();
    let (end, mut version) = (Instant::now() + LIMIT, 0);
    fs::write(&refuse, "").unwrap();
    while !rig.daemon().is_over() {
        assert!(Instant::now() < end, "it goes on");
        version += 1;
        drop_many(&rig, version);
        pause();
    }
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
    expect_many(&rig, version);
    rig.stop();
}
