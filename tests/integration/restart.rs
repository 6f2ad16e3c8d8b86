//! A start compares the folder with what was written, and sends only what differs.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use pixcell::sandbox::Endpoint;

use crate::support::{Mapping, Rig, Signal, jpeg, png, with_comments};

#[test]
fn a_restart_with_unchanged_files_makes_no_call_at_all() {
    let mut rig = Rig::started();
    for row in 1..=20 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    for row in 1..=20 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(20);
    let before = rig.state().calls_by_endpoint;
    // Three times: what the second start remembers must do for the third.
    for _ in 0..3 {
        rig.start();
        let ended = rig.stop();
        assert_eq!(rig.state().calls_by_endpoint, before);
        assert!(!ended.stderr.contains("decision="), "read again: {ended}");
    }
    rig.start();
    rig.finish(20);
    let after = rig.state();
    let more = |endpoint| after.calls(endpoint) - before.get(&endpoint).copied().unwrap_or(0);
    // For the sentinel alone: one token, one look at the document's sheets.
    assert_eq!(
        (more(Endpoint::TenantToken), more(Endpoint::SheetsQuery)),
        (1, 1)
    );
}

/// Bytes that the daemon has read so far, from files or elsewhere.
fn read_so_far(rig: &Rig) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/io", rig.daemon().pid())).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn neither_a_restart_nor_a_rescan_reads_what_has_not_changed() {
    const FILES: u32 = 12;
    const LENGTH: u64 = 2_000_000;
    let mut rig = Rig::with(|plan| plan.top.push("status: {listen: \"127.0.0.1:0\"}".into()));
    for row in 1..=FILES {
        let picture = with_comments(&jpeg(row), usize::try_from(LENGTH).unwrap());
        rig.drop_file(format!("B{row}.jpg"), &picture);
    }
    rig.start();
    rig.wait("all are written", |state| {
        state.calls(Endpoint::ValuesImage) == u64::from(FILES) && state.in_flight.is_empty()
    });
    // Each was read once to be hashed and once to be sent.
    let all = LENGTH * u64::from(FILES);
    let first = read_so_far(&rig);
    assert!(first >= all, "{first} of {all}");
    let looks = rig.looks();
    assert!(looks >= u64::from(FILES), "{looks}");
    rig.stop();
    rig.start();
    rig.daemon().signal(Signal::USR1);
    rig.daemon().wait_line(&["listing the folder, as asked"]);
    rig.fence();
    // The program, its configuration and its state.
    let again = read_so_far(&rig);
    assert!(again < LENGTH, "{again} bytes read");
    // The sentinel, once for each thing that happened to it.
    let looks = rig.looks();
    assert!(looks < u64::from(FILES), "{looks}");
    rig.finish(u64::from(FILES));
}

#[test]
fn files_that_only_look_changed_are_read_and_not_sent() {
    let mut rig = Rig::started();
    for row in 1..=5 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.stop();
    for row in 1..=5 {
        // Restored from a backup: another inode, another time, the same bytes.
        let name = rig.file(format!("B{row}.png"));
        fs::remove_file(&name).unwrap();
        fs::write(&name, png(row)).unwrap();
    }
    rig.start();
    rig.finish(5);
}

#[test]
fn what_changed_while_it_was_down_is_written_at_the_start() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", &png(2));
    rig.expect("B2", &png(1));
    rig.expect("B3", &png(2));
    rig.stop();
    rig.drop_file("B2.png", &png(3));
    rig.drop_file("B4.jpg", &jpeg(4));
    rig.start();
    rig.expect("B2", &png(3));
    rig.expect("B4", &jpeg(4));
    rig.finish(4);
}

#[test]
fn pictures_that_are_there_at_the_first_start_are_written() {
    let mut rig = Rig::new();
    fs::create_dir_all(rig.file("sub/deep")).unwrap();
    fs::write(rig.file("sub/deep/C1.png"), png(1)).unwrap();
    rig.drop_file("C2.png", &png(2));
    rig.start();
    rig.expect("C1", &png(1));
    rig.expect("C2", &png(2));
    rig.finish(2);
}

#[test]
fn of_many_files_for_one_slot_only_the_newest_is_sent_at_the_start() {
    let mut rig = Rig::with(|plan| {
        let mapping = &plan.mappings[0];
        plan.mappings[0] = mapping.clone().rule("poster*.png", "B2");
    });
    // The newest neither first nor last, by name or by writing.
    for number in [7, 3, 9, 1, 5, 8, 2, 6, 4] {
        let name = format!("poster-{number}.png");
        rig.drop_file(&name, &png(number));
        let age = if number == 5 {
            10
        } else {
            60 * u64::from(number)
        };
        let file = File::options().write(true).open(rig.file(&name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    }
    rig.start();
    rig.expect("B2", &png(5));
    rig.finish(1);
    rig.expect("B2", &png(5));
    // And it stays the newest: the older ones are no news at the next start.
    rig.start();
    rig.finish(1);
    rig.expect("B2", &png(5));
}

#[test]
fn a_lost_state_costs_calls_and_no_pictures() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.stop();
    fs::remove_dir_all(rig.path("state")).unwrap();
    rig.start();
    rig.wait("written again", |state| {
        state.calls(Endpoint::ValuesImage) == 2
    });
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    rig.finish(3);
}

#[test]
fn two_mappings_keep_their_states_apart() {
    let mut rig = Rig::with(|plan| {
        let second =
            Mapping::new("second", "in2", &plan.mappings[0].spreadsheet).rule("only.png", "H7");
        plan.mappings.push(second);
    });
    fs::create_dir(rig.path("in2")).unwrap();
    rig.start();
    rig.drop_file("B2.png", &png(1));
    fs::write(rig.path("in2/only.png"), png(2)).unwrap();
    rig.expect("B2", &png(1));
    rig.expect("H7", &png(2));
    rig.finish(2);
    rig.start();
    rig.finish(2);
}
