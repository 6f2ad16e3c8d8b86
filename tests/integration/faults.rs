//! What goes wrong on the way passes by itself: the right picture ends in the cell, with no more calls
//! than the fault costs.

use std::time::{Duration, Instant};

use pixcell::sandbox::{AnswerWhen, CallRecord, Cut, Endpoint, Fault, Outcome, State};
use rstest::rstest;
use serde_json::Value;

use crate::support::{DOC, FOLDER, LIMIT, Mapping, Rig, SHEET, document, large_jpeg, padded, png};

const IMAGE: Endpoint = Endpoint::ValuesImage;

/// How long nothing came between the end of the first of these calls and the begin of the next.
fn pause(calls: &[CallRecord]) -> Duration {
    Duration::from_millis(calls[1].started_ms - calls[0].ended_ms.unwrap())
}

#[rstest]
#[case::status_429(429)]
#[case::status_400(400)]
fn a_throttled_app_keeps_the_wait_that_the_server_asks_for(#[case] status: u16) {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocHall"));
        plan.mappings.push(Mapping::new("hall", "hall", "DocHall"));
    });
    std::fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    // Longer than a first back-off of our own.
    rig.fault(Fault::on(IMAGE).spreadsheet(DOC).throttle(status, 3));
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["B2.png", "99991400", "all calls wait"]);
    // Another document's picture waits as well: the limit is the app's.
    std::fs::write(rig.path("hall/B3.png"), png(2)).unwrap();
    rig.expect("B2", &png(1));
    rig.expect_in("DocHall", "B3", &png(2));
    let calls = rig.write_records();
    assert_eq!(
        (calls[0].status, calls[0].code),
        (Some(status), Some(99_991_400))
    );
    assert!(
        pause(&calls) >= Duration::from_secs(3),
        "{:?}",
        pause(&calls)
    );
    rig.finish(3);
}

#[rstest]
#[case::busy(Fault::on(IMAGE).answer(503, 1500, "busy"), "1500")]
#[case::gateway(Fault::on(IMAGE).html(502), "502")]
#[case::gateway_before_the_body(Fault::on(IMAGE).html(504).when(AnswerWhen::BeforeBody), "")]
#[case::captive_portal(Fault::on(IMAGE).html(200), "not JSON")]
#[case::cut_in_the_body(Fault::on(IMAGE).cut(Cut::InBody { bytes: 3_000 }), "connection")]
#[case::cut_before_the_write(Fault::on(IMAGE).cut(Cut::BeforeWrite), "connection")]
#[case::retry_later(Fault::on(IMAGE).answer(200, 90_235, "retry later"), "90235")]
#[case::unknown_code(Fault::on(IMAGE).answer(200, 424_242, "what"), "424242")]
fn a_passing_fault_costs_one_more_call(#[case] fault: Fault, #[case] told: &str) {
    let mut rig = Rig::started();
    rig.fault(fault);
    rig.drop_file("B2.jpg", &large_jpeg(1));
    rig.expect("B2", &large_jpeg(1));
    let line = rig.warned(&["B2.jpg", "slot=B2", told, "next try in"]);
    assert!(
        line.contains("pixcell tries again by itself") || line.contains("; "),
        "{line}"
    );
    rig.daemon().wait_line(&["calls succeed again"]);
    assert_eq!(rig.state().sheet(DOC, SHEET).unwrap().revision, 1);
    rig.finish(2);
}

#[test]
fn pictures_that_are_answered_with_an_unknown_code_are_parked_after_six_tries_each() {
    let mut rig = Rig::started();
    let cells = ["B2", "B3"];
    for cell in cells {
        let what = Fault::on(IMAGE).answer(200, 424_242, "what");
        rig.fault(what.cell(cell).forever());
        rig.drop_file(format!("{cell}.png"), &png(1));
    }
    for cell in cells {
        rig.warned(&[cell, "failures="]);
    }
    // In turn, so that neither has two tries in a row.
    for tries in 2..=6 {
        for cell in cells {
            let end = Instant::now() + LIMIT;
            while calls_for(&rig.state(), cell) < tries {
                // Hastens nothing while its last call is under way; one too many would release what is parked.
                rig.pixcell(&["retry", cell, "--config", "pixcell.yaml"]);
                let soon = Instant::now() + Duration::from_secs(5);
                while calls_for(&rig.state(), cell) < tries && Instant::now() < soon {
                    crate::support::pause();
                }
                assert!(Instant::now() < end, "{cell}: try {tries}");
            }
        }
    }
    for cell in cells {
        rig.warned(&["parked", cell, "424242"]);
    }
    for cell in cells {
        assert_eq!(calls_for(&rig.state(), cell), 6, "{cell}");
    }
    rig.stop();
}

/// Calls that were made for a cell.
fn calls_for(state: &State, cell: &str) -> usize {
    let range = format!("!{cell}:{cell}");
    let calls = state.calls.iter();
    calls
        .filter(|call| {
            call.range
                .as_deref()
                .is_some_and(|given| given.ends_with(&range))
        })
        .count()
}

#[rstest]
#[case::cut(Fault::on(IMAGE).cut(Cut::AfterWrite))]
#[case::gateway(Fault::on(IMAGE).html(504).when(AnswerWhen::AfterWrite))]
fn a_lost_answer_costs_one_repeat_with_the_same_content(#[case] fault: Fault) {
    let mut rig = Rig::started();
    rig.fault(fault);
    rig.drop_file("B2.png", &png(1));
    let state = rig.wait("repeated", |state| {
        state.sheet(DOC, SHEET).unwrap().revision == 2 && state.in_flight.is_empty()
    });
    assert_eq!(state.calls(IMAGE), 2);
    rig.expect("B2", &png(1));
    // The revision that holds is that of the repeat.
    let told = rig.daemon().wait_line(&["written", "B2.png", "revision=2"]);
    assert!(told.contains("slot=B2"), "{told}");
    rig.finish(2);
    let history = rig.pixcell(&["history", "B2", "--json", "--config", "pixcell.yaml"]);
    let history = history.with_code(0).json();
    assert_eq!(
        (
            history[0]["revision"].as_u64(),
            history.as_array().map(Vec::len)
        ),
        (Some(2), Some(1)),
        "{history}"
    );
}

#[test]
fn a_lost_answer_is_not_taken_for_the_old_content() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    // The second picture is in the cell and nobody knows; then the first one comes back.
    rig.fault(Fault::on(IMAGE).cut(Cut::AfterWrite));
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.finish(3);
}

#[test]
fn an_expired_token_is_renewed_once_and_the_call_repeated() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.sandbox().expire_tokens();
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    rig.drop_file("B4.png", &png(3));
    rig.expect("B4", &png(3));
    rig.fence();
    assert_eq!(rig.calls(Endpoint::TenantToken), 2);
    // The refused call, and nothing said to people: it passed by itself.
    assert!(
        !rig.daemon().has_line(&[" WARN "]),
        "{}",
        rig.daemon().stderr()
    );
    rig.finish(4);
}

#[test]
fn a_token_revoked_while_many_lanes_write_is_renewed_by_one_call_for_all() {
    const LANES: usize = 6;
    const ROWS: u32 = 8;
    let documents: Vec<String> = (1..LANES).map(|number| format!("Doc{number}")).collect();
    let mut rig = Rig::with(|plan| {
        for name in &documents {
            plan.sandbox.documents.push(document(name));
            let mapping = Mapping::new(&name.to_lowercase(), FOLDER, name);
            plan.mappings.push(mapping);
        }
    });
    rig.start();
    let all = || {
        documents
            .iter()
            .map(String::as_str)
            .chain([DOC])
            .collect::<Vec<_>>()
    };
    for document in all() {
        let refused = Fault::on(IMAGE).spreadsheet(document);
        rig.fault(refused.answer(400, 99_991_663, "invalid access token"));
    }
    rig.hold_writes();
    for row in 1..=ROWS {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    // Each lane is in a call that will be refused, and has others to make. From now on no token is given out.
    rig.wait("all lanes write", |state| state.held() == LANES);
    assert_eq!(rig.calls(Endpoint::TenantToken), 1);
    rig.sandbox().expire_tokens();
    rig.sandbox().hold(&[Endpoint::TenantToken]);
    rig.wait("all lanes are refused", |state| {
        state.answers(99_991_663) == LANES as u64
    });
    rig.wait_held();
    rig.sandbox().release();
    for document in all() {
        for row in 1..=ROWS {
            rig.expect_in(document, &format!("B{row}"), &png(row));
        }
    }
    assert_eq!(rig.calls(Endpoint::TenantToken), 2);
    // One call of each lane was refused and made again, and nobody has to be told.
    assert_eq!(rig.writes(), LANES as u64 * (u64::from(ROWS) + 1));
    assert!(!rig.daemon().has_line(&[" WARN "]));
    rig.stop();
}

/// The answer to a write that took effect, for another document.
fn for_another_document() -> Fault {
    let mut fault = Fault::on(IMAGE)
        .answer(200, 0, "")
        .when(AnswerWhen::AfterWrite);
    let answer = fault.answer.as_mut().unwrap();
    answer.content_type = Some("application/json".into());
    let place =
        format!(r#"{{"spreadsheetToken":"DocElse","updateRange":"{SHEET}!B2:B2","revision":1}}"#);
    answer.body = Some(format!(r#"{{"code":0,"msg":"success","data":{place}}}"#));
    fault
}

#[rstest]
#[case::cell(Fault::on(IMAGE).update_range(format!("{SHEET}!Z9:Z9")), &format!("success for {SHEET}!Z9:Z9"))]
#[case::document(for_another_document(), &format!("success for {SHEET}!B2:B2 in DocElse"))]
fn success_for_another_place_is_reported_and_not_taken_for_done(
    #[case] fault: Fault,
    #[case] told: &str,
) {
    let mut rig = Rig::started();
    rig.fault(fault);
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["B2.png", "slot=B2", told, "B2:B2", "look at both places"]);
    rig.wait("written again", |state| {
        state.sheet(DOC, SHEET).unwrap().revision == 2
    });
    rig.finish(2);
}

#[test]
fn an_answer_without_a_revision_or_in_the_field_tables_words_is_success() {
    let mut rig = Rig::with(|plan| plan.sandbox.updated_range = true);
    rig.start();
    rig.fault(Fault::on(IMAGE).without_revision());
    for row in [2, 3] {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.finish(2);
}

#[test]
fn a_fault_of_one_cell_does_not_hold_up_the_others_of_its_document() {
    let mut rig = Rig::started();
    rig.fault(
        Fault::on(IMAGE)
            .cell("B2")
            .answer(400, 90_204, "unknown format")
            .forever(),
    );
    rig.drop_file("B2.png", &png(1));
    for row in 3..=8 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    for row in 3..=8 {
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.warned(&["parked", "B2.png", "slot=B2", "90204"]);
    // One call for it, and the status tells.
    rig.finish(7);
    assert_eq!(rig.status()["parked"][0]["attempts"], 1);
}

#[test]
fn a_fault_while_looking_up_the_sheets_passes_too() {
    let mut rig = Rig::started();
    rig.fault(Fault::on(Endpoint::SheetsQuery).answer(500, 1_315_201, "busy"));
    rig.fault(Fault::on(Endpoint::TenantToken).html(502));
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    assert_eq!(rig.calls(Endpoint::SheetsQuery), 2);
    assert_eq!(rig.calls(Endpoint::TenantToken), 2);
    rig.finish(1);
}

#[test]
fn a_redirect_is_not_followed() {
    let mut rig = Rig::started();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = format!("http://{}/", elsewhere.local_addr().unwrap());
    for endpoint in [IMAGE, Endpoint::TenantToken] {
        rig.fault(Fault::on(endpoint).html(307).header("location", &address));
    }
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    // Whoever had followed would wait in the queue of connections.
    let followed = elsewhere.accept().unwrap_err();
    assert_eq!(followed.kind(), std::io::ErrorKind::WouldBlock);
    rig.finish(2);
}

#[test]
fn a_caller_that_gives_up_a_slow_call_makes_no_second_one_beside_it() {
    let mut rig = Rig::with(|plan| plan.feishu.push("request_timeout: 1s".into()));
    rig.start();
    rig.fault(Fault::on(IMAGE).delay_write(Duration::from_secs(5)));
    rig.drop_file("B2.png", &png(1));
    rig.warned(&["B2.png", "did not answer in time"]);
    rig.expect("B2", &png(1));
    let calls = rig.write_records();
    assert_eq!(calls[0].outcome, Some(Outcome::Abandoned));
    rig.finish(2);
}

#[test]
fn a_large_picture_gets_through_a_link_that_needs_longer_than_the_time_limit() {
    let mut rig = Rig::with(|plan| plan.feishu.push("request_timeout: 1s".into()));
    rig.start();
    // 11 MB of body at 3 MB/s.
    rig.fault(Fault::on(IMAGE).slow_read(3_000_000));
    let picture = padded(1, 8_000_000);
    rig.drop_file("B2.jpg", &picture);
    rig.expect("B2", &picture);
    let call = &rig.write_records()[0];
    let took = call.ended_ms.unwrap() - call.started_ms;
    assert!(took > 3_000, "{took} ms");
    rig.finish(1);
}

#[test]
fn a_silent_server_holds_up_its_own_document_only() {
    let mut rig = Rig::with(|plan| {
        plan.feishu.push("request_timeout: 2s".into());
        plan.sandbox.documents.push(document("DocHall"));
        plan.mappings.push(Mapping::new("hall", "hall", "DocHall"));
    });
    std::fs::create_dir(rig.path("hall")).unwrap();
    rig.start();
    let silent = Fault::on(IMAGE).spreadsheet(DOC).forever();
    rig.fault(silent.delay_write(Duration::from_hours(1)));
    rig.drop_file("B2.png", &png(1));
    rig.wait("the call has begun", |state| state.calls(IMAGE) == 1);
    std::fs::write(rig.path("hall/B3.png"), png(2)).unwrap();
    rig.expect_in("DocHall", "B3", &png(2));
    rig.warned(&["B2.png", "did not answer in time", "all was sent"]);
    // Nor once it has been given up: the waits that grow are its own.
    for row in 4..=9 {
        std::fs::write(rig.path(format!("hall/B{row}.png")), png(row)).unwrap();
        rig.expect_in("DocHall", &format!("B{row}"), &png(row));
    }
    let status = rig.wait_status("given up twice", |status| {
        let lanes = status["lanes"].as_array().unwrap();
        let lane = lanes.iter().find(|lane| lane["spreadsheet"] == DOC);
        lane.unwrap()["state"]["failures"].as_u64() >= Some(2)
    });
    std::fs::write(rig.path("hall/B10.png"), png(10)).unwrap();
    rig.expect_in("DocHall", "B10", &png(10));
    assert_eq!(status["gate"], Value::Null);
    rig.sandbox().clear_faults();
    rig.expect("B2", &png(1));
}
