//! SIGHUP takes a right configuration up and leaves a wrong one alone; SIGUSR1 compares the folders.

use std::fs;
use std::time::Duration;

use pixcell::sandbox::{DocumentSpec, Endpoint, Fault, Permission, SheetSpec};

use crate::support::{DOC, Mapping, Plan, Rig, SHEET, Signal, document, png};

#[test]
fn a_good_configuration_is_taken_up_without_losing_what_was_known() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("poster.png", &png(2));
    let mapping = rig.plan.mappings[0].clone();
    rig.plan.mappings[0] = mapping.rule("poster.png", "D4");
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    // A file that no rule took before, and a new one.
    rig.expect("D4", &png(2));
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    let told = rig.daemon().told();
    assert!(!told.contains(&"STOPPING=1".into()), "{told:?}");
    rig.finish(3);
}

#[test]
fn what_comes_after_a_reload_is_newer_than_all_before() {
    let mut rig = Rig::started();
    for version in 1..=5 {
        rig.drop_file("B2.png", &png(version));
        rig.expect("B2", &png(version));
    }
    for version in 6..=8 {
        rig.daemon().signal(Signal::HUP);
        rig.daemon_mut().wait_told("RELOADING=1");
        rig.daemon_mut().wait_told("READY=1");
        rig.drop_file("B2.png", &png(version));
        rig.expect("B2", &png(version));
    }
    rig.finish(8);
}

#[test]
fn a_wrong_configuration_is_told_with_its_line_and_the_old_one_stays() {
    let mut rig = Rig::started();
    let text = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    rig.write_config_text(&text.replace("spreadsheet:", "spredsheet:"));
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    // systemd waits for this in any case.
    rig.daemon_mut().wait_told("READY=1");
    let line = rig.daemon().wait_line(&["the old one stays in force"]);
    assert!(
        line.contains(" ERROR ") && line.contains("spredsheet"),
        "{line}"
    );
    let row = 1 + text
        .lines()
        .position(|line| line.contains("spreadsheet:"))
        .unwrap();
    assert!(line.contains(&format!("pixcell.yaml:{row}")), "{line}");
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    // And a right one is taken afterwards.
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    rig.finish(2);
}

#[test]
fn a_reload_during_a_call_lets_it_finish_and_repeats_nothing() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.drop_file("B3.png", &png(2));
    rig.wait_queued("B3.png", &png(2));
    rig.write_config_text(&(fs::read_to_string(rig.path("pixcell.yaml")).unwrap() + "# changed\n"));
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.expect("B3", &png(2));
    // A comparison would bring it back as well.
    assert!(!rig.daemon().has_line(&["withdrawn"]), "it stays in line");
    rig.finish(2);
}

#[test]
fn a_parked_picture_is_tried_again_after_a_changed_configuration() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster.png", "B5000");
    });
    rig.start();
    rig.drop_file("poster.png", &png(1));
    rig.warned(&["parked", "poster.png"]);
    rig.plan.mappings[0].rules[0].1 = "B2".into();
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.expect("B2", &png(1));
    let parked = rig.wait_status("released", |status| status["totals"]["parked"] == 0);
    assert_eq!(parked["parked"], serde_json::Value::Array(vec![]));
    rig.finish(1);
}

#[test]
fn sigusr1_finds_what_no_event_told() {
    let mut rig = Rig::started();
    // Written through another name of the file: the folder hears nothing of it.
    let outside = rig.outside("outside.png", &png(1));
    fs::hard_link(&outside, rig.file("B2.png")).unwrap();
    rig.expect("B2", &png(1));
    fs::write(&outside, png(2)).unwrap();
    rig.fence();
    assert_eq!(rig.writes(), 1);
    rig.daemon().signal(Signal::USR1);
    rig.expect("B2", &png(2));
    rig.finish(2);
}

#[test]
fn a_configuration_that_cannot_be_run_leaves_the_old_one_in_force() {
    let mut rig = Rig::started();
    let text = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    fs::write(
        rig.path("broken.pem"),
        "-----BEGIN CERTIFICATE-----\nbroken\n",
    )
    .unwrap();
    let broken = text.replace("feishu:\n", "feishu:\n  ca_file: broken.pem\n");
    let moved = text.replace("state_dir: state", "state_dir: elsewhere");
    for (wrong, why) in [(broken, "ca_file"), (moved, "state_dir changed")] {
        assert_ne!(wrong, text);
        rig.write_config_text(&wrong);
        rig.daemon().signal(Signal::HUP);
        rig.daemon_mut().wait_told("RELOADING=1");
        rig.daemon_mut().wait_told("READY=1");
        rig.daemon().wait_line(&["the old one stays in force", why]);
    }
    rig.write_config();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.finish(1);
}

#[test]
fn a_wish_to_stop_during_a_reload_ends_the_daemon() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.daemon().signal(Signal::HUP);
    rig.daemon()
        .wait_line(&["the configuration was read again"]);
    rig.daemon().signal(Signal::TERM);
    rig.daemon().wait_line(&["stopping"]);
    rig.sandbox().release();
    rig.end().with_code(0);
    assert_eq!(rig.writes(), 1);
    rig.start();
    rig.finish(1);
}

/// Adds a mapping `hall` with its folder and document.
fn with_hall(plan: &mut Plan) {
    plan.sandbox.documents.push(document("DocHall"));
    plan.mappings.push(Mapping::new("hall", "hall", "DocHall"));
}

#[test]
fn a_mapping_that_is_added_works_while_a_call_of_another_is_in_flight() {
    let mut rig = Rig::with(with_hall);
    fs::create_dir(rig.path("hall")).unwrap();
    let hall = rig.plan.mappings.pop().unwrap();
    rig.write_config();
    rig.start();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.plan.mappings.push(hall);
    rig.reload();
    fs::write(rig.path("hall/C3.png"), png(2)).unwrap();
    rig.wait("both calls are in flight", |state| state.held() == 2);
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.expect_in("DocHall", "C3", &png(2));
    rig.finish(2);
}

#[test]
fn a_call_of_a_mapping_that_is_removed_is_finished_and_what_waits_comes_back_with_it() {
    let mut rig = Rig::with(with_hall);
    fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    rig.hold_writes();
    fs::write(rig.path("hall/B2.png"), png(1)).unwrap();
    rig.wait_held();
    fs::write(rig.path("hall/B3.png"), png(2)).unwrap();
    rig.daemon().wait_line(&["B3.png", "decision=Queued"]);
    let hall = rig.plan.mappings.pop().unwrap();
    rig.reload();
    rig.sandbox().release();
    rig.expect_in("DocHall", "B2", &png(1));
    // Nobody asks for what waited any more.
    rig.daemon().wait_line(&["withdrawn", "B3.png"]);
    rig.drop_file("B2.png", &png(3));
    rig.expect("B2", &png(3));
    let status = rig.wait_status("recorded", |status| status["totals"]["written"] == 2);
    assert_eq!(status["totals"]["queued"], 0);
    rig.plan.mappings.push(hall);
    rig.reload();
    rig.expect_in("DocHall", "B3", &png(2));
    rig.finish(3);
}

#[test]
fn a_rule_that_changes_during_its_call_holds_for_what_comes_after_it() {
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster.png", "D4");
    });
    rig.start();
    rig.hold_writes();
    rig.drop_file("poster.png", &png(1));
    rig.wait_held();
    rig.plan.mappings[0].rules[0].1 = "E5".into();
    rig.reload();
    rig.drop_file("B3.png", &png(2));
    rig.wait_queued("B3.png", &png(2));
    assert_eq!(rig.state().in_flight.len(), 1, "one call a document");
    rig.sandbox().release();
    rig.expect("D4", &png(1));
    rig.expect("E5", &png(1));
    rig.expect("B3", &png(2));
    rig.finish(3);
}

#[test]
fn fifty_reloads_at_once_do_no_harm() {
    let mut rig = Rig::started();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    for _ in 0..50 {
        rig.daemon().signal(Signal::HUP);
    }
    rig.drop_file("B3.png", &png(2));
    rig.wait_queued("B3.png", &png(2));
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.expect("B3", &png(2));
    rig.finish(2);
}

#[test]
fn a_wait_that_the_server_asked_for_outlives_a_reload() {
    let mut rig = Rig::started();
    let throttled = Fault::on(Endpoint::ValuesImage).answer(429, 90_217, "too many requests");
    rig.fault(throttled.header("retry-after", "2"));
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["B2.png", "90217", "next try in 2.0s"]);
    rig.daemon().signal(Signal::HUP);
    rig.expect("B2", &png(1));
    let calls = rig.write_records();
    let pause = Duration::from_millis(calls[1].started_ms - calls[0].ended_ms.unwrap());
    assert!(pause >= Duration::from_secs(2), "{pause:?}");
    rig.finish(2);
}

/// A second mapping, for a document that only it feeds.
fn hall() -> Mapping {
    Mapping::new("hall", "hall", "DocHall").rule("poster.png", "B5000")
}

fn remap(rig: &mut Rig, mappings: &[Mapping]) {
    rig.plan.mappings = mappings.to_vec();
    rig.write_config();
    rig.reload();
}

#[test]
fn what_waits_and_what_is_parked_goes_with_its_mapping_and_comes_back_with_it() {
    let mut rig = Rig::with(|plan| {
        let closed = document("DocHall").permission(Permission::View);
        plan.sandbox.documents.push(closed);
        plan.mappings.push(hall());
    });
    fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    fs::write(rig.path("hall/poster.png"), png(1)).unwrap();
    rig.warned(&["parked", "poster.png"]);
    fs::write(rig.path("hall/B2.png"), png(2)).unwrap();
    rig.warned(&["nothing is sent for this spreadsheet", "B2.png"]);
    let lobby = rig.plan.mappings[0].clone();
    remap(&mut rig, std::slice::from_ref(&lobby));
    let left = rig.wait_status("withdrawn", |status| status["totals"]["parked"] == 0);
    assert_eq!(left["totals"]["queued"], 0, "{left:#}");
    for file in ["poster.png", "B2.png"] {
        rig.daemon()
            .wait_line(&["withdrawn: the configuration no longer sends", file]);
    }
    let history = rig.pixcell(&["history", "--config", "pixcell.yaml"]);
    let told = "not sent: the configuration no longer sends this file there";
    assert_eq!(history.stdout.matches(told).count(), 2, "{history}");

    // Back again, in a document that takes them, and once more without anything to do.
    let open = DocumentSpec::new("DocHall").permission(Permission::Edit);
    rig.sandbox()
        .set_document(&open.sheet(SheetSpec::new(SHEET, "Lobby").grid(5000, 20)))
        .unwrap();
    for _ in 0..2 {
        remap(&mut rig, &[lobby.clone(), hall()]);
        rig.expect_in("DocHall", "B5000", &png(1));
        rig.expect_in("DocHall", "B2", &png(2));
        remap(&mut rig, std::slice::from_ref(&lobby));
    }
    // The one call that the closed document refused.
    rig.finish(3);
}

#[test]
fn when_a_rule_goes_the_newest_picture_of_the_others_takes_its_place() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents = vec![document(DOC).permission(Permission::View)];
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("poster.png", "B2");
    });
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.wait_queued("B2.png", &png(1));
    rig.drop_file("poster.png", &png(2));
    rig.wait_queued("poster.png", &png(2));
    let mut lobby = rig.plan.mappings[0].clone();
    lobby.rules.remove(0);
    remap(&mut rig, &[lobby]);
    rig.daemon().wait_line(&["withdrawn", "poster.png"]);
    rig.wait_status("queued again", |status| status["totals"]["queued"] == 1);
    rig.sandbox()
        .set_document(&document(DOC).permission(Permission::Edit))
        .unwrap();
    rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"]);
    rig.expect("B2", &png(1));
    rig.stop();
}

#[test]
fn a_reload_is_known_to_have_been_taken_up() {
    let mut rig = Rig::started();
    let check = ["check", "--in-force", "--config", "pixcell.yaml"];
    rig.pixcell(&check).with_code(0);
    let right = fs::read_to_string(rig.path("pixcell.yaml")).unwrap();
    rig.write_config_text(&(right.clone() + "# changed\n"));
    rig.daemon().signal(Signal::HUP);
    let told = rig.pixcell(&check).with_code(0);
    assert!(
        told.stdout.contains("the configuration is in force"),
        "{told}"
    );
    let read = ["the configuration was read again"];
    assert!(rig.daemon().has_line(&read), "it was only then");
    // One that the daemon alone knows to be wrong: it has no other secret.
    let secret = right.lines().find(|line| line.contains("app_secret: "));
    rig.write_config_text(&right.replacen(secret.unwrap(), "", 1));
    rig.daemon().signal(Signal::HUP);
    let refused = rig
        .pixcell_env(&check, &[("PIXCELL_APP_SECRET", "-".into())])
        .with_code(1);
    assert!(refused.stderr.contains("its log says why"), "{refused}");
    rig.daemon()
        .wait_line(&["the old one stays in force", "app_secret"]);
    // What was refused is no longer said once the next one is right.
    rig.write_config_text(&right);
    rig.daemon().signal(Signal::HUP);
    rig.pixcell(&check).with_code(0);
    rig.finish(0);
    let none = rig.pixcell(&check).with_code(1);
    assert!(none.stderr.contains("no daemon runs with"), "{none}");
}
