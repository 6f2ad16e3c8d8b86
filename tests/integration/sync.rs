//! `pixcell sync`: one pass over everything, its exit code, its JSON, and the store it shares with the
//! daemon.

use pixcell::sandbox::{DocumentSpec, Endpoint, Permission};
use serde_json::json;

use crate::support::{DOC, Mapping, Rig, document, png};

const SYNC: [&str; 4] = ["sync", "--json", "--config", "pixcell.yaml"];

#[test]
fn everything_written_is_exit_code_0_and_a_second_pass_makes_no_call() {
    let mut rig = Rig::new();
    for row in 1..=5 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    let first = rig.pixcell(&SYNC).with_code(0).json();
    assert_eq!(
        (&first["written"], &first["stopped"]),
        (&5.into(), &false.into())
    );
    assert_eq!(first["unreached"], json!([]));
    for row in 1..=5 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    let calls = rig.state().calls_by_endpoint;
    let second = rig.pixcell(&SYNC).with_code(0).json();
    assert_eq!(second["written"], 0);
    assert_eq!(rig.state().calls_by_endpoint, calls);
    // For people, on stdout; nothing there but the result.
    rig.drop_file("B6.png", &png(6));
    let told = rig
        .pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(0);
    assert_eq!(
        told.stdout,
        "1 picture written, 0 parked, 0 rejected or held, 0 waiting\n"
    );
    // The daemon goes on from there.
    rig.start();
    rig.finish(6);
}

#[test]
fn parked_or_rejected_files_are_exit_code_3_and_the_others_are_written() {
    let mut rig = Rig::new();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", b"no picture");
    rig.drop_file("B4.png", b"");
    rig.drop_file("B5000.png", &png(2));
    let told = rig.pixcell(&SYNC).with_code(3).json();
    assert_eq!(told["written"], 1);
    assert_eq!(told["left"]["totals"]["parked"], 1);
    let refused = told["left"]["refused"].as_array().unwrap();
    let verdicts: Vec<_> = refused
        .iter()
        .map(|file| (&file["file"], &file["verdict"]))
        .collect();
    assert_eq!(
        verdicts,
        [
            (&json!("B3.png"), &json!("rejected")),
            (&json!("B4.png"), &json!("held"))
        ]
    );
    let told = rig
        .pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(3)
        .stdout;
    for part in [
        "B5000.png -> B5000: B5000 lies outside",
        "B3.png -> B3: its content is",
        "B4.png -> B4: it is empty",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(rig.writes(), 1);
}

#[test]
fn a_document_that_cannot_be_written_is_exit_code_1_and_the_others_are() {
    let mut rig = Rig::with(|plan| {
        let spec: DocumentSpec = document("DocHall").permission(Permission::None);
        plan.sandbox.documents.push(spec);
        plan.mappings.push(Mapping::new("hall", "in", "DocHall"));
    });
    rig.drop_file("B2.png", &png(1));
    let told = rig.pixcell(&SYNC).with_code(1).json();
    assert_eq!(told["written"], 1);
    let unreached = told["unreached"].as_array().unwrap();
    assert_eq!(
        (unreached.len(), &unreached[0]["spreadsheet"]),
        (1, &json!("DocHall"))
    );
    assert!(
        unreached[0]["reason"]
            .as_str()
            .unwrap()
            .contains("add the app"),
        "{told:#}"
    );
    rig.expect_in(DOC, "B2", &png(1));
}

#[test]
fn a_wrong_secret_is_exit_code_1_with_what_to_do() {
    let mut rig = Rig::with(|plan| plan.secret = "wrong-secret-12345".into());
    rig.drop_file("B2.png", &png(1));
    let ended = rig
        .pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(1);
    assert!(
        ended.stdout.contains("not written now, DocLobby"),
        "{ended}"
    );
    assert!(
        ended.stdout.contains("check app_id and the app's secret"),
        "{ended}"
    );
    assert_eq!(rig.calls(Endpoint::ValuesImage), 0);
}

#[test]
fn a_signal_ends_a_pass_with_exit_code_1() {
    let rig = Rig::new();
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", &png(2));
    let pass = rig.command(&SYNC);
    rig.wait_held();
    pass.signal(crate::support::Signal::INT);
    pass.wait_line(&["stopping"]);
    rig.sandbox().release();
    let told = pass.end().with_code(1).json();
    assert_eq!(
        (&told["stopped"], &told["written"]),
        (&true.into(), &1.into())
    );
}

#[test]
fn a_folder_that_is_not_there_is_told_and_fails_the_pass() {
    let mut rig = Rig::with(|plan| plan.mappings.push(Mapping::new("usb", "usb", DOC)));
    rig.drop_file("B2.png", &png(1));
    let ended = rig.pixcell(&["sync"]).with_code(1);
    assert!(ended.stdout.contains("usb"), "{}", ended.stdout);
    rig.expect("B2", &png(1));
}
