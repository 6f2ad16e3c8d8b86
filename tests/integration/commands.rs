//! What a person asks for while the daemon runs and while it does not: the history, another try, another
//! comparison.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};

use pixcell::sandbox::{Endpoint, Fault};
use rstest::rstest;
use serde_json::Value;

use crate::support::{DOC, Rig, Signal, png};

#[track_caller]
fn history(rig: &mut Rig, about: &str) -> Vec<Value> {
    let ended = rig.pixcell(&["history", about, "--json", "--config", "pixcell.yaml"]);
    ended.with_code(0).json().as_array().unwrap().clone()
}

#[test]
fn the_history_tells_of_a_path_or_a_cell_with_its_revisions_the_newest_first() {
    let mut rig = Rig::started();
    for (name, number) in [("B2.png", 1), ("B2.png", 2), ("C3.png", 3)] {
        rig.drop_file(name, &png(number));
        rig.expect(&name[..2], &png(number));
        rig.daemon().wait_line(&[
            "written",
            &pixcell::image::ContentHash::of(&png(number)).to_string(),
        ]);
    }
    let of_cell = history(&mut rig, "b2");
    assert_eq!(of_cell.len(), 2, "{of_cell:#?}");
    assert_eq!(of_cell[0]["what"], "written");
    assert!(of_cell[0]["revision"].as_u64() > of_cell[1]["revision"].as_u64());
    assert_eq!(history(&mut rig, "B2.png"), of_cell);
    assert_eq!(history(&mut rig, "lobby:B2.png"), of_cell);
    let none = rig.pixcell(&["history", "Z9", "--config", "pixcell.yaml"]);
    assert!(none.with_code(1).stderr.contains("nothing about Z9"));
    let latest = rig.pixcell(&["history", "--most", "1", "--config", "pixcell.yaml"]);
    let latest = latest.with_code(0).stdout;
    assert!(latest.contains("lobby: C3.png -> C3"), "{latest}");
    assert_eq!(latest.lines().count(), 1, "{latest}");
    rig.stop();
    assert_eq!(history(&mut rig, "B2"), of_cell, "from the store");
}

/// A rig whose picture for a cell outside of the grid is parked.
fn parked() -> Rig {
    let mut rig = Rig::started();
    rig.drop_file("ZZ9999.png", &png(1));
    rig.wait_status("parked", |status| status["totals"]["parked"] == 1);
    rig
}

#[test]
fn a_parked_picture_is_tried_again_when_a_person_asks() {
    let mut rig = parked();
    let asked = |rig: &Rig| rig.calls(Endpoint::SheetsQuery);
    let before = asked(&rig);
    let retried = rig.pixcell(&["retry", "zz9999", "--config", "pixcell.yaml"]);
    assert_eq!(retried.with_code(0).stdout, "1 parked job tried again\n");
    rig.wait("tried again", |state| {
        state.calls(Endpoint::SheetsQuery) > before
    });
    rig.wait_status("parked again", |status| status["totals"]["parked"] == 1);
    let text = rig
        .pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(0);
    let parts = [
        "outside the grid",
        "for ",
        "0 calls; when it is mended: `pixcell retry`",
    ];
    assert!(
        parts.iter().all(|part| text.stdout.contains(part)),
        "{text}"
    );
    let none = rig.pixcell(&["retry", "B2", "--config", "pixcell.yaml"]);
    assert!(
        none.with_code(1)
            .stderr
            .contains("nothing is parked for B2")
    );
}

#[test]
fn without_a_daemon_what_is_retried_is_in_line_for_the_next_start() {
    let mut rig = parked();
    rig.stop();
    let retried = rig.pixcell(&["retry", "--all", "--json", "--config", "pixcell.yaml"]);
    assert_eq!(retried.with_code(0).json()["released"], 1);
    let totals = rig.status()["totals"].clone();
    assert_eq!(
        (&totals["parked"], &totals["queued"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn the_folders_are_compared_when_a_person_asks() {
    let mut rig = Rig::started();
    let asked = rig.pixcell(&["rescan", "--config", "pixcell.yaml"]);
    assert_eq!(asked.with_code(0).stdout, "comparing 1 folder now\n");
    rig.daemon().wait_line(&["listing the folder, as asked"]);
    let asked = rig.pixcell(&["rescan", "--json", "--config", "pixcell.yaml"]);
    assert_eq!(asked.with_code(0).json()["folders"], 1);
    rig.stop();
    let none = rig.pixcell(&["rescan", "--config", "pixcell.yaml"]);
    assert!(none.with_code(1).stderr.contains("pixcell sync"));
}

#[test]
fn the_whole_status_is_logged_when_a_signal_asks_and_the_daemon_goes_on() {
    let mut rig = parked();
    rig.daemon().signal(Signal::USR2);
    rig.daemon()
        .wait_line(&["status, as asked", "ZZ9999.png", "outside the grid"]);
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.stop();
}

#[test]
fn what_was_mended_is_written_when_a_person_asks() {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::ValuesImage).answer(200, 90_218, "locked cell"));
    rig.drop_file("B2.png", &png(1));
    let status = rig.wait_status("parked", |status| status["totals"]["parked"] == 1);
    assert_eq!(status["parked"][0]["code"], 90_218);
    let logid = status["parked"][0]["log_id"].as_str().unwrap();
    let text = rig.pixcell(&["status", "--config", "pixcell.yaml"]).stdout;
    let line = format!("1 call, code 90218, logid {logid}; when it is mended");
    assert!(text.contains(&line), "{text}");
    let retried = rig.pixcell(&["retry", "B2.png", "--config", "pixcell.yaml"]);
    assert_eq!(retried.with_code(0).stdout, "1 parked job tried again\n");
    rig.expect("B2", &png(1));
    rig.finish(2);
}

#[rstest]
#[case::credentials(403, 99_991_672, "the app")]
#[case::quota(429, 99_991_403, "the app")]
#[case::document(403, 90_213, "this spreadsheet")]
fn a_closed_gate_is_tried_at_once_when_a_person_asks(
    #[case] status: u16,
    #[case] code: i64,
    #[case] whose: &str,
) {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::ValuesImage).answer(status, code, "no"));
    rig.drop_file("B2.png", &png(1));
    let line = rig.warned(&["nothing is sent for", whose, &code.to_string(), "B2.png"]);
    assert!(line.contains("next try in"), "{line}");
    let gate = |status: &Value| {
        let gates = [&status["gate"], &status["lanes"][0]["gate"]];
        let mut closed = gates.into_iter().filter(|gate| gate["passing"] == false);
        closed.next().cloned()
    };
    let status = rig.wait_status("the gate says why", |status| gate(status).is_some());
    let closed = gate(&status).unwrap();
    assert!(closed["reason"].to_string().contains(&code.to_string()));
    let wait = closed["until"].as_u64().unwrap() - closed["since"].as_u64().unwrap();
    assert!(wait >= 30_000, "{closed}");
    let retried = rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"]);
    let told = retried.with_code(0).stdout;
    let opened = told
        .lines()
        .find(|line| line.starts_with("tried now for the "));
    let opened = opened.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(
        (opened.contains("for the app,"), opened.contains(DOC)),
        (whose == "the app", whose != "the app"),
        "{opened}"
    );
    assert!(opened.contains(&code.to_string()), "{opened}");
    rig.expect("B2", &png(1));
    rig.daemon().wait_line(&["calls succeed again"]);
    let nothing = rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"]);
    let nothing = nothing.with_code(0).stdout;
    assert_eq!(
        nothing,
        "nothing is parked, waits after a failure or is closed\n"
    );
    let calls = rig.write_records();
    let pause = calls[1].started_ms - calls[0].ended_ms.unwrap();
    assert!(
        pause < wait,
        "the next probe would have done it: {pause} ms"
    );
    rig.finish(2);
}

#[test]
fn a_wait_that_the_server_asked_for_is_no_shorter_when_a_person_asks() {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, 2));
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["all calls wait for 2.0s", "B2.png"]);
    rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"])
        .with_code(0);
    rig.expect("B2", &png(1));
    let calls = rig.write_records();
    let pause = calls[1].started_ms - calls[0].ended_ms.unwrap();
    assert!(pause >= 2_000, "{pause} ms");
    rig.finish(2);
}

/// The control socket and what its path in the state directory is.
fn socket(rig: &Rig, path: &str) -> (u32, u32) {
    let meta = fs::metadata(rig.path(path)).unwrap();
    (meta.mode() & 0o777, meta.gid())
}

#[test]
fn a_group_may_ask_when_it_is_named_and_the_socket_lies_where_it_can_go() {
    let mut rig = Rig::with(|plan| plan.env.push(("RUNTIME_DIRECTORY", "runtime".into())));
    fs::create_dir(rig.path("runtime")).unwrap();
    let ours = fs::metadata(rig.path("runtime")).unwrap().gid();
    rig.start();
    assert_eq!(
        socket(&rig, "runtime/control.sock").0,
        0o600,
        "no group is named"
    );
    rig.plan
        .top
        .push(format!("control: {{ group: \"{ours}\" }}"));
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    assert_eq!(socket(&rig, "runtime/control.sock"), (0o660, ours));
    // Whoever knows the state directory alone finds it as well.
    assert!(rig.path("state/control.sock").is_symlink());
    assert_eq!(rig.status()["running"]["pid"], rig.daemon().pid());
    rig.kill();
    // What a kill has left behind is taken for no daemon, and replaced.
    assert!(rig.status()["running"].is_null());
    rig.plan.env.clear();
    rig.start();
    assert!(!rig.path("state/control.sock").is_symlink());
    assert_eq!(rig.status()["running"]["pid"], rig.daemon().pid());
    rig.finish(0);
}

#[rstest]
#[case::that_is_not_there(
    "no-such-group",
    true,
    "this machine has no group \"no-such-group\"; make it (`groupadd"
)]
#[case::that_cannot_go_there("0", false, "set $RUNTIME_DIRECTORY")]
fn a_group_that_cannot_be_let_in_is_told_and_the_owner_may_ask_all_the_same(
    #[case] group: &str,
    #[case] runtime: bool,
    #[case] says: &str,
) {
    let mut rig = Rig::with(|plan| {
        plan.top.push(format!("control: {{ group: \"{group}\" }}"));
        if runtime {
            plan.env.push(("RUNTIME_DIRECTORY", "runtime".into()));
        }
    });
    fs::create_dir(rig.path("runtime")).unwrap();
    rig.start();
    rig.warned(&["control.group: ", says, "its owner's alone"]);
    assert_eq!(socket(&rig, "state/control.sock").0, 0o600);
    assert_eq!(rig.status()["running"]["pid"], rig.daemon().pid());
    rig.finish(0);
}

#[test]
fn a_daemon_of_another_version_is_named_as_one() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("state")).unwrap();
    let newer = UnixListener::bind(rig.path("state/control.sock")).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = newer.accept().unwrap();
        let mut asked = String::new();
        BufReader::new(&stream).read_line(&mut asked).unwrap();
        stream
            .write_all(br#"{"protocol":99,"version":"99.1.0 (new)","told":[1]}"#)
            .unwrap();
        asked
    });
    let status = rig
        .pixcell(&["status", "--config", "pixcell.yaml"])
        .with_code(1);
    for part in [
        "another version",
        "it is 99.1.0 (new)",
        "systemctl restart pixcell",
    ] {
        assert!(status.stderr.contains(part), "{status}");
    }
    let asked: Value = serde_json::from_str(&daemon.join().unwrap()).unwrap();
    assert_eq!(
        (&asked["protocol"], &asked["ask"]),
        (&2.into(), &"status".into())
    );
    assert!(asked["version"].is_string());
}

#[rstest]
#[case::newer(r#"{"protocol":99,"version":"99.1.0","ask":"status"}"#)]
#[case::without_a_version(r#"{"ask":"status"}"#)]
#[case::no_question("status")]
fn a_command_of_another_version_is_told_which_the_daemon_is(#[case] question: &str) {
    let mut rig = Rig::started();
    let mut stream = UnixStream::connect(rig.path("state/control.sock")).unwrap();
    writeln!(stream, "{question}").unwrap();
    let answer: Value = serde_json::from_reader(stream).unwrap();
    assert_eq!(answer["protocol"], 2);
    assert!(
        answer["version"].is_string() && answer["answer"].is_null(),
        "{answer}"
    );
    rig.finish(0);
}
