//! What keeps a whole document or the whole app from being written is told with what to do, keeps its
//! queue, and passes without a restart. One document's trouble is not another's.

use std::fs;

use pixcell::sandbox::{DocumentSpec, Endpoint, Fault, Permission};
use rstest::rstest;
use serde_json::Value;

use crate::support::{DOC, Mapping, Rig, SECRET, Signal, document, jpeg, png};

#[test]
fn an_unreachable_server_is_waited_for_and_then_everything_arrives() {
    let mut rig = Rig::with(|plan| plan.online = false);
    rig.drop_file("B1.png", &png(1));
    rig.start();
    for row in 2..=6 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    let line = rig.warned(&["B1.png", "B1", "cannot be reached"]);
    assert!(line.contains("tries again by itself"), "{line}");
    let status = rig.wait_status("the gate tells why", |status| {
        status["gate"].to_string().contains("cannot be reached")
    });
    assert_eq!(
        (&status["totals"]["parked"], &status["refused"][0]),
        (&0.into(), &().into())
    );
    // Newest wins meanwhile, too.
    rig.drop_file("B6.png", &png(60));
    rig.go_online();
    for row in 1..=5 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.expect("B6", &png(60));
    let line = rig.daemon().wait_line(&["calls succeed again"]);
    assert!(
        line.contains("closed=") && !line.contains("failures"),
        "{line}"
    );
    rig.finish(6);
}

#[test]
fn a_wrong_secret_stops_the_app_with_what_to_do_and_a_reload_goes_on() {
    let mut rig = Rig::with(|plan| plan.secret = "wrong-secret-12345".into());
    rig.start();
    for row in 1..=4 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    let line = rig.warned(&["nothing is sent for the app", "10015"]);
    assert!(line.contains(".png") && line.contains("slot=B"), "{line}");
    assert!(
        line.contains("check app_id and the app's secret"),
        "what to do: {line}"
    );
    // No call but the one for the token, and that one once.
    rig.fence_unwritten();
    let status = rig.wait_status("the gate tells why", |status| {
        status["gate"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("10015"))
    });
    assert_eq!(status["totals"]["queued"], 5, "with the sentinel");
    assert_eq!(
        rig.state().calls_by_endpoint,
        [(Endpoint::TenantToken, 1)].into()
    );

    rig.plan.secret = SECRET.into();
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    for row in 1..=4 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(4);
    assert!(!rig.printed().contains("wrong-secret-12345"));
}

#[test]
fn a_document_that_a_gateway_refuses_is_tried_less_and_less_while_others_are_written() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocHall"));
        plan.mappings.push(Mapping::new("hall", "hall", "DocHall"));
    });
    fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    let refused = Fault::on(Endpoint::ValuesImage).spreadsheet("DocHall");
    rig.fault(refused.html(504).forever());
    fs::write(rig.path("hall/B2.png"), png(1)).unwrap();
    rig.warned(&["B2.png", "504"]);
    // Each one that gets through says that the host is there.
    for row in 1..=15 {
        rig.drop_file(format!("C{row}.jpg"), &jpeg(row));
        rig.expect(&format!("C{row}"), &jpeg(row));
    }
    let calls = rig.write_records().into_iter();
    let calls = calls.filter(|call| call.spreadsheet.as_deref() == Some("DocHall"));
    let calls: Vec<_> = calls.collect();
    // The first answer might be everybody's.
    for (failures, pair) in calls.windows(2).skip(1).enumerate() {
        let waited = pair[1].started_ms - pair[0].ended_ms.unwrap();
        assert!(
            waited >= 1000 << failures,
            "{waited} ms after {failures} earlier failures"
        );
    }
    rig.stop();
}

#[rstest]
#[case::no_permission(|spec: DocumentSpec| spec.permission(Permission::None), "add the app to the document")]
#[case::read_only(|spec: DocumentSpec| spec.permission(Permission::View), "add the app to the document")]
#[case::deleted(|spec: DocumentSpec| spec.deleted(true), "")]
fn a_document_that_cannot_be_written_leaves_others_alone(
    #[case] spoil: fn(DocumentSpec) -> DocumentSpec,
    #[case] advice: &str,
) {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(spoil(document("DocHall")));
        plan.mappings.push(Mapping::new("hall", "hall", "DocHall"));
    });
    fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    fs::write(rig.path("hall/B2.png"), png(1)).unwrap();
    let line = rig.warned(&["nothing is sent for this spreadsheet", "B2.png", "slot=B2"]);
    assert!(line.contains(advice), "what to do: {line}");
    fs::write(rig.path("hall/B2.png"), png(2)).unwrap();
    for row in 1..=5 {
        rig.drop_file(format!("C{row}.jpg"), &jpeg(row));
    }
    for row in 1..=5 {
        rig.expect(&format!("C{row}"), &jpeg(row));
    }
    rig.fence();
    let gate_of = |status: &Value, name: &str| {
        let lanes = status["lanes"].as_array().unwrap();
        lanes
            .iter()
            .find(|lane| lane["spreadsheet"] == name)
            .unwrap()["gate"]
            .clone()
    };
    let status = rig.wait_status("the gate of one document tells why", |status| {
        gate_of(status, "DocHall")["reason"].is_string()
    });
    assert!(gate_of(&status, DOC).is_null(), "{status:#}");
    assert!(
        status["gate"].is_null() && status["totals"]["queued"] == 1,
        "{status:#}"
    );

    // A person mends it; a reload tries at once.
    let mended = DocumentSpec::new("DocHall")
        .permission(Permission::Edit)
        .deleted(false);
    rig.sandbox().set_document(&mended).unwrap();
    rig.daemon().signal(Signal::HUP);
    rig.expect_in("DocHall", "B2", &png(2));
}
