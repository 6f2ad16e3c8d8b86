//! The end in order: exit code 0, calls in flight finished and recorded, systemd told; a second signal
//! leaves at once; and only one daemon for one state.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::support::{Rig, Signal, png};

#[rstest]
#[case::sigterm(Signal::TERM)]
#[case::sigint(Signal::INT)]
fn a_signal_ends_it_in_order(#[case] signal: Signal) {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.daemon().signal(signal);
    rig.daemon_mut().wait_told("STOPPING=1");
    let ended = rig.end().with_code(0);
    assert!(ended.stderr.contains("stopped"), "{ended}");
    // The receipt was recorded.
    rig.start();
    rig.finish(1);
}

#[test]
fn it_ends_in_order_while_it_still_waits_for_its_server() {
    let mut rig = Rig::with(|plan| plan.online = false);
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["cannot be reached"]);
    rig.stop();
    // What waited is not forgotten.
    rig.go_online();
    rig.start();
    rig.expect("B2", &png(1));
    rig.finish(1);
}

#[test]
fn a_call_in_flight_is_finished_and_recorded() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", &png(2));
    rig.wait_held();
    rig.daemon().signal(Signal::TERM);
    rig.daemon_mut().wait_told("STOPPING=1");
    // It answers no more questions and keeps the state, as long as the call takes.
    rig.pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(4);
    assert_eq!(rig.state().held(), 1);
    rig.sandbox().release();
    rig.end().with_code(0);
    let first = rig.state();
    assert_eq!(rig.writes(), 1, "no new call is begun once it stops");
    assert_eq!((first.abandoned, first.in_flight.len()), (0, 0));
    rig.start();
    rig.expect("B2", &png(1));
    rig.expect("B3", &png(2));
    rig.finish(2);
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.daemon().signal(Signal::TERM);
    rig.daemon_mut().wait_told("STOPPING=1");
    let second = Instant::now();
    rig.daemon().signal(Signal::TERM);
    rig.end().with_code(0);
    // Calls in flight would have had twenty seconds.
    assert!(
        second.elapsed() < Duration::from_secs(5),
        "{:?}",
        second.elapsed()
    );
    rig.sandbox().release();
    rig.start();
    rig.expect("B2", &png(1));
    // Nobody knows what became of the first call, so there is a second; no third.
    rig.finish(2);
}

#[test]
fn a_second_instance_is_refused_and_leaves_the_first_alone() {
    let mut rig = Rig::started();
    let pid = rig.daemon().pid();
    let start = Instant::now();
    let second = rig
        .another()
        .end_within(Duration::from_secs(10))
        .with_code(4);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    let told = second
        .stderr
        .lines()
        .find(|line| line.contains("another pixcell"))
        .unwrap();
    for part in [
        format!("pid {pid}"),
        "pixcell run".into(),
        "state".into(),
        "stop it first".into(),
    ] {
        assert!(told.contains(&part), "{told}");
    }
    let refused = rig
        .pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(4);
    assert!(refused.stderr.contains(&format!("pid {pid}")), "{refused}");
    assert_eq!(rig.status()["running"]["pid"], pid);
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.finish(1);
}

#[test]
fn ready_is_told_after_the_folder_was_compared_and_changes_from_then_on_are_seen() {
    let mut rig = Rig::new();
    for row in 1..=30 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    rig.start();
    rig.drop_file("C1.png", &png(100));
    rig.expect("C1", &png(100));
    for row in 1..=30 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(31);
}

#[test]
fn ready_is_told_only_when_every_picture_that_was_there_is_known() {
    const FILES: u32 = 150;
    let mut rig = Rig::new();
    rig.hold_writes();
    for row in 1..=FILES {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    rig.start();
    // Stopped in its tracks at that moment: what it has not said by now, it did not know.
    rig.daemon().signal(Signal::STOP);
    rig.daemon().wait_count("decision=Queued", FILES as usize);
    rig.daemon().signal(Signal::CONT);
    rig.sandbox().release();
    rig.expect("B1", &png(1));
    rig.stop();
}

#[test]
fn a_call_that_hangs_is_given_up_in_time() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    let start = Instant::now();
    rig.daemon().signal(Signal::TERM);
    // systemd ends it after 30.
    let daemon = rig.take_daemon();
    let ended = daemon.end_within(Duration::from_secs(25)).with_code(0);
    assert!(start.elapsed() >= Duration::from_secs(19), "{ended}");
    assert!(
        ended
            .stderr
            .contains("not waiting any longer for the lane of")
    );
    rig.sandbox().release();
    rig.start();
    rig.expect("B2", &png(1));
    rig.finish(2);
}
