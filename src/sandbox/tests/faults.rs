//! Each fault over a real connection: what the caller sees, and what became of the picture.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::super::fixture;
use super::super::*;
use super::start;

/// What the caller sees, and whether the picture is in its cell afterwards.
#[rstest]
#[case::answer(Fault::on(Endpoint::ValuesImage).answer(500, 1_500, "no"), Some((500, Some(1_500))), false)]
#[case::in_one_document(Fault::on(Endpoint::ValuesImage).spreadsheet("doc").answer(403, 91_403, "no"), Some((403, Some(91_403))), false)]
#[case::before_the_body(Fault::on(Endpoint::ValuesImage).throttle(429, 3).when(AnswerWhen::BeforeBody), Some((429, Some(99_991_400))), false)]
#[case::after_the_write(Fault::on(Endpoint::ValuesImage).answer(504, 5_000, "late").when(AnswerWhen::AfterWrite), Some((504, Some(5_000))), true)]
#[case::in_one_cell(Fault::on(Endpoint::ValuesImage).cell("B2").answer(400, 90_222, "no"), Some((400, Some(90_222))), false)]
#[case::in_another_cell(Fault::on(Endpoint::ValuesImage).cell("B3").answer(400, 90_222, "no"), Some((200, Some(0))), true)]
#[case::of_another_call(Fault::on(Endpoint::TenantToken).answer(500, 1, "no"), Some((200, Some(0))), true)]
#[case::html(Fault::on(Endpoint::ValuesImage).html(200), Some((200, None)), false)]
#[case::cut_in_body(Fault::on(Endpoint::ValuesImage).cut(Cut::InBody { bytes: 10 }), None, false)]
#[case::cut_before_write(Fault::on(Endpoint::ValuesImage).cut(Cut::BeforeWrite), None, false)]
#[case::cut_after_write(Fault::on(Endpoint::ValuesImage).cut(Cut::AfterWrite), None, true)]
#[case::cut_for_a_cell(Fault::on(Endpoint::ValuesImage).cell("B2").cut(Cut::AfterWrite), None, true)]
#[case::slow(Fault::on(Endpoint::ValuesImage).slow_read(100_000).delay_write(Duration::from_millis(1)).delay_answer(Duration::from_millis(1)), Some((200, Some(0))), true)]
#[tokio::test]
async fn a_fault_shows_and_is_spent(
    #[case] fault: Fault,
    #[case] seen: Option<(u16, Option<i64>)>,
    #[case] written: bool,
) {
    let (sandbox, caller) = start().await;
    sandbox.add_fault(fault).unwrap();
    let png = fixture::png(1, 1);
    let reply = caller.put("doc", "one!B2:B2", &png).await.ok();
    assert_eq!(reply.map(|reply| (reply.status, reply.code())), seen);
    let state = sandbox.state();
    assert_eq!(state.image("doc", "one", "B2").is_some(), written);
    assert_eq!(state.cuts, u64::from(seen.is_none()));
    let met = state.calls.back().unwrap().fault;
    assert_eq!(met, state.faults.iter().count() == 0);

    let again = caller.put("doc", "one!B2:B2", &png).await.unwrap();
    assert_eq!(again.code(), Some(0));
    assert_eq!(sandbox.state().overlaps, 0);
}

#[tokio::test]
async fn an_answer_before_a_large_body_still_reaches_the_caller() {
    let (sandbox, caller) = start().await;
    let early = Fault::on(Endpoint::ValuesImage)
        .throttle(429, 3)
        .when(AnswerWhen::BeforeBody);
    sandbox.add_fault(early).unwrap();
    let reply = caller
        .put("doc", "one!B2:B2", &vec![0; 16 * 1024 * 1024])
        .await
        .unwrap();
    assert_eq!(reply.header("x-ogw-ratelimit-reset"), Some("3"));
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_fault_can_bend_a_right_answer() {
    let (sandbox, caller) = start().await;
    let fault = Fault::on(Endpoint::ValuesImage)
        .update_range("one!Z9:Z9")
        .without_revision();
    sandbox.add_fault(fault).unwrap();
    let reply = caller
        .put("doc", "one!B2:B2", &fixture::png(1, 1))
        .await
        .unwrap();
    assert_eq!(
        reply.json()["data"],
        json!({"spreadsheetToken": "doc", "updateRange": "one!Z9:Z9"})
    );
}
