//! Each call of the API: its right answer, and the code of every refusal.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::super::fixture::{self, Caller};
use super::super::*;
use super::{SOON, options, start, start_with};
use crate::image::ContentHash;

const WRITE: &str = "/open-apis/sheets/v2/spreadsheets/doc/values_image";

#[tokio::test]
async fn a_picture_appears_in_its_cell_with_the_next_revision() {
    let (sandbox, caller) = start().await;
    let png = fixture::png(3, 2);
    for revision in 1..=2 {
        let reply = caller.put("doc", "one!B2:B2", &png).await.unwrap();
        assert_eq!(
            reply.json(),
            json!({"code": 0, "msg": "success", "data": {
                "spreadsheetToken": "doc", "revision": revision, "updateRange": "one!B2:B2"
            }})
        );
        assert_eq!(reply.status, 200);
        assert!(reply.header("x-tt-logid").is_some());
    }
    let state = sandbox.state();
    let image = state.image("doc", "one", "B2").unwrap();
    assert_eq!(image.hash, ContentHash::of(&png));
    assert_eq!((image.width, image.height), (Some(3), Some(2)));
    assert_eq!((image.revision, image.length), (2, png.len() as u64));
    assert_eq!(sandbox.image_bytes("doc", "one", "B2").unwrap(), png);
    assert_eq!(state.calls(Endpoint::ValuesImage), 2);
    assert_eq!(state.answers(0), 3);
    sandbox.stop().await;
}

#[tokio::test]
async fn the_array_encoding_writes_the_same_bytes() {
    let (sandbox, caller) = start().await;
    let png = fixture::png(3, 2);
    let body = json!({"range": "one!A1:A1", "image": png, "name": "a.PNG"}).to_string();
    let reply = caller.api("POST", WRITE, &body).await.unwrap();
    assert_eq!(reply.code(), Some(0));
    let state = sandbox.state();
    let image = state.image("doc", "one", "A1").unwrap();
    assert_eq!(
        (image.hash, image.encoding),
        (ContentHash::of(&png), Encoding::Array)
    );
}

#[tokio::test]
async fn the_largest_image_is_taken() {
    let (sandbox, caller) = start().await;
    // A whole PNG of exactly 20 MiB: a comment chunk before the end fills it up.
    let mut png = fixture::png(3, 2);
    let end = png.split_off(png.len() - 12);
    let fill = 20 * 1024 * 1024 - png.len() - 12 - 12;
    let mut chunk = b"tEXt".to_vec();
    chunk.resize(4 + fill, b'x');
    png.extend(u32::try_from(fill).unwrap().to_be_bytes());
    png.extend(&chunk);
    png.extend(crc32fast::hash(&chunk).to_be_bytes());
    png.extend(end);
    assert_eq!(png.len(), rules::MAX_IMAGE_BYTES);

    let reply = caller.put("doc", "one!A1:A1", &png).await.unwrap();
    assert_eq!(reply.code(), Some(0), "{}", reply.json());
    let state = sandbox.state();
    let image = state.image("doc", "one", "A1").unwrap();
    assert_eq!(image.hash, ContentHash::of(&png));
}

#[rstest]
#[case::wrong_range("doc", "one!B2", "a.png", 90_202)]
#[case::no_sheet("doc", "two!B2:B2", "a.png", 90_215)]
#[case::row_outside("doc", "one!B21:B21", "a.png", 90_212)]
#[case::locked("doc", "one!J20:J20", "a.png", 90_218)]
#[case::no_suffix("doc", "one!B2:B2", "a", 90_204)]
#[case::no_document("nope", "one!B2:B2", "a.png", 90_214)]
#[case::deleted("gone", "one!B2:B2", "a.png", 90_214)]
#[case::wiki_token("node", "one!B2:B2", "a.png", 91_402)]
#[case::view_only("view", "Q7PlXT!B2:B2", "a.png", 90_213)]
#[case::no_permission("none", "Q7PlXT!B2:B2", "a.png", 90_213)]
#[tokio::test]
async fn a_refused_write_names_its_code_and_changes_nothing(
    #[case] spreadsheet: &str,
    #[case] range: &str,
    #[case] name: &str,
    #[case] code: i64,
) {
    let (sandbox, caller) = start().await;
    let path = format!("/open-apis/sheets/v2/spreadsheets/{spreadsheet}/values_image");
    let body = fixture::body(range, name, &fixture::png(1, 1));
    let reply = caller.api("POST", &path, &body).await.unwrap();
    assert_eq!(reply.code(), Some(code), "{}", reply.json());
    assert!(reply.header("x-tt-logid").is_some());
    let state = sandbox.state();
    assert_eq!(state.answers(code), 1);
    let sheets = state.documents.iter().flat_map(|document| &document.sheets);
    assert!(sheets.into_iter().all(|sheet| sheet.revision == 0));
}

#[tokio::test]
async fn a_truncated_image_is_refused() {
    let (_sandbox, caller) = start().await;
    let png = fixture::png(3, 2);
    let reply = caller
        .put("doc", "one!B2:B2", &png[..png.len() - 1])
        .await
        .unwrap();
    assert_eq!(reply.code(), Some(90_204));
}

#[rstest]
#[case::nothing("", 99_991_661)]
#[case::unknown("Authorization: Bearer t-unknown\r\n", 99_991_663)]
#[case::no_prefix("Authorization: Bearer unknown\r\n", 99_991_671)]
#[case::unknown_user("Authorization: Bearer u-unknown\r\n", 99_991_668)]
#[tokio::test]
async fn a_call_needs_a_good_token(#[case] header: &str, #[case] code: i64) {
    let (_sandbox, caller) = start().await;
    let path = "/open-apis/sheets/v3/spreadsheets/doc/sheets/query";
    let reply = caller.raw("GET", path, header, b"").await.unwrap();
    assert_eq!(reply.code(), Some(code));
}

#[rstest]
#[case::chunked(
    "Transfer-Encoding: chunked\r\nContent-Type: application/json; charset=utf-8\r\n",
    411
)]
#[case::no_charset("Content-Length: 2\r\nContent-Type: application/json\r\n", 415)]
#[case::too_long(
    "Content-Length: 999999999\r\nContent-Type: application/json; charset=utf-8\r\n",
    413
)]
#[tokio::test]
async fn a_body_must_be_framed_and_typed(#[case] headers: &str, #[case] status: u16) {
    let (_sandbox, caller) = start().await;
    let head = format!("Authorization: Bearer {}\r\n{headers}", caller.token);
    let body: &[u8] = if status == 411 {
        b"2\r\n{}\r\n0\r\n\r\n"
    } else {
        b"{}"
    };
    let reply = caller.raw("POST", WRITE, &head, body).await.unwrap();
    assert_eq!(reply.status, status, "{}", reply.json());
}

#[rstest]
#[case("cli_sandbox", "sandbox-secret", 0)]
#[case("cli_other", "sandbox-secret", 10_014)]
#[case("cli_sandbox", "wrong", 10_015)]
#[tokio::test]
async fn credentials_are_checked(#[case] app: &str, #[case] secret: &str, #[case] code: i64) {
    let (_sandbox, caller) = start().await;
    let reply = caller.token_call(app, secret).await;
    assert_eq!(reply.code(), Some(code));
    assert_eq!(reply.json()["expire"].as_u64().is_some(), code == 0);
}

#[tokio::test]
async fn a_malformed_token_call_does_not_repeat_the_secret() {
    let (_sandbox, caller) = start().await;
    let path = "/open-apis/auth/v3/tenant_access_token/internal";
    let body = r#"{"app_id": 5, "app_secret": "hush"}"#;
    let reply = caller.api("POST", path, body).await.unwrap();
    assert_eq!(reply.code(), Some(10_003));
    assert!(!reply.json().to_string().contains("hush"));
}

#[tokio::test]
async fn expired_tokens_are_refused_until_a_new_one_is_fetched() {
    let (sandbox, mut caller) = start().await;
    sandbox.expire_tokens();
    let png = fixture::png(1, 1);
    let reply = caller.put("doc", "one!A1:A1", &png).await.unwrap();
    assert_eq!(reply.code(), Some(99_991_663));
    caller = Caller::with_token(&sandbox).await;
    let reply = caller.put("doc", "one!A1:A1", &png).await.unwrap();
    assert_eq!(reply.code(), Some(0));
    assert_eq!(sandbox.state().tokens_made, 2);
}

#[tokio::test]
async fn a_user_token_is_refreshed_once_per_refresh_token() {
    let (_sandbox, mut caller) = start_with(Options {
        user_refresh_token: Some("r-first".to_owned()),
        ..options()
    })
    .await;
    let path = "/open-apis/authen/v2/oauth/token";
    let body = json!({
        "grant_type": "refresh_token", "client_id": "cli_sandbox",
        "client_secret": "sandbox-secret", "refresh_token": "r-first",
    })
    .to_string();
    let reply = caller.api("POST", path, &body).await.unwrap();
    let pair = reply.json();
    assert_eq!(
        (pair["code"].as_i64(), pair["token_type"].as_str()),
        (Some(0), Some("Bearer"))
    );
    assert_eq!(caller.api("POST", path, &body).await.unwrap().status, 400);
    caller.token = pair["access_token"].as_str().unwrap().to_owned();
    let reply = caller
        .put("doc", "one!A1:A1", &fixture::png(1, 1))
        .await
        .unwrap();
    assert_eq!(reply.code(), Some(0));
}

#[rstest]
#[case::as_429(false, 429)]
#[case::as_400(true, 400)]
#[tokio::test]
async fn calls_over_the_rate_are_told_when_to_come_back(
    #[case] throttled_as_400: bool,
    #[case] status: u16,
) {
    let (sandbox, caller) = start_with(Options {
        requests_per_second: 1,
        throttled_as_400,
        ..options()
    })
    .await;
    let path = "/open-apis/sheets/v3/spreadsheets/doc/sheets/query";
    let (one, other) = tokio::join!(caller.api("GET", path, ""), caller.api("GET", path, ""));
    let mut replies = [one.unwrap(), other.unwrap()];
    replies.sort_by_key(fixture::Reply::code);
    assert_eq!(replies[0].code(), Some(0));
    assert_eq!(
        (replies[1].status, replies[1].code()),
        (status, Some(99_991_400))
    );
    assert_eq!(replies[1].header("x-ogw-ratelimit-limit"), Some("1"));
    assert_eq!(replies[1].header("x-ogw-ratelimit-reset"), Some("1"));
    assert_eq!(sandbox.state().most_in_a_second, 2);
}

#[tokio::test]
async fn two_writes_at_once_to_one_spreadsheet_overlap() {
    let (sandbox, caller) = start().await;
    let png = fixture::png(1, 1);
    sandbox.hold(&[Endpoint::ValuesImage]);
    let second = async {
        sandbox
            .wait_for(|state| state.held() == 1, SOON)
            .await
            .unwrap();
        let other_document = caller.put("other", "one!A1:A1", &png);
        let overlap = async {
            let reply = caller.put("doc", "one!A2:A2", &png).await.unwrap();
            sandbox
                .wait_for(|state| state.held() == 2, SOON)
                .await
                .unwrap();
            sandbox.release();
            reply
        };
        let (overlap, other) = tokio::join!(overlap, other_document);
        (overlap.code(), other.unwrap().code())
    };
    let (first, second) = tokio::join!(caller.put("doc", "one!A1:A1", &png), second);
    assert_eq!(first.unwrap().code(), Some(0));
    assert_eq!(second, (Some(90_217), Some(0)));
    assert_eq!(sandbox.state().overlaps, 1);
}

#[tokio::test]
async fn a_caller_that_gave_up_may_call_again_at_once() {
    let (sandbox, caller) = start().await;
    let png = fixture::png(1, 1);
    let never = Fault::on(Endpoint::ValuesImage).delay_write(Duration::from_hours(1));
    sandbox.add_fault(never).unwrap();
    let stuck = |state: &State| state.in_flight.values().any(|call| call.range.is_some());
    tokio::select! {
        _ = caller.put("doc", "one!A1:A1", &png) => panic!("it is delayed"),
        stuck = sandbox.wait_for(stuck, SOON) => stuck.map(drop).unwrap(),
    }
    let reply = caller.put("doc", "one!A1:A1", &png).await.unwrap();
    assert_eq!(reply.code(), Some(0));
    let state = sandbox.state();
    assert_eq!((state.overlaps, state.abandoned), (0, 1));
    assert_eq!(state.sheet("doc", "one").unwrap().revision, 1);
}

#[tokio::test]
async fn sheets_and_wiki_nodes_are_listed() {
    let (_sandbox, caller) = start().await;
    let path = "/open-apis/sheets/v3/spreadsheets/doc/sheets/query";
    let reply = caller.api("GET", path, "").await.unwrap().json();
    let sheet = &reply["data"]["sheets"][0];
    assert_eq!(
        (sheet["sheet_id"].as_str(), sheet["title"].as_str()),
        (Some("one"), Some("One"))
    );
    assert_eq!(sheet["grid_properties"]["row_count"], 20);
    assert_eq!(sheet["grid_properties"]["column_count"], 10);
    let path = "/open-apis/wiki/v2/spaces/get_node?token=node";
    let node = caller.api("GET", path, "").await.unwrap().json();
    assert_eq!(node["data"]["node"]["obj_token"], "doc");
    assert_eq!(node["data"]["node"]["obj_type"], "sheet");
    for (document, code) in [
        ("gone", 1_310_249),
        ("none", 1_310_213),
        ("nope", 1_310_214),
    ] {
        let path = format!("/open-apis/sheets/v3/spreadsheets/{document}/sheets/query");
        assert_eq!(
            caller.api("GET", &path, "").await.unwrap().code(),
            Some(code)
        );
    }
}

#[tokio::test]
async fn values_are_written_read_and_hold_pictures() {
    let (sandbox, caller) = start().await;
    let values = "/open-apis/sheets/v2/spreadsheets/doc/values";
    let body = json!({"valueRange": {"range": "one!A2:B2", "values": [["sku-1", 7]]}}).to_string();
    let put = caller.api("PUT", values, &body).await.unwrap().json();
    assert_eq!(
        (&put["data"]["revision"], &put["data"]["updatedCells"]),
        (&json!(1), &json!(2))
    );
    let png = fixture::png(3, 2);
    caller.put("doc", "one!C2:C2", &png).await.unwrap();

    let path = format!("{values}/one%21A2:C2?valueRenderOption=ToString");
    let read = caller.api("GET", &path, "").await.unwrap().json();
    let row = &read["data"]["valueRange"]["values"][0];
    assert_eq!((&row[0], &row[1]), (&json!("sku-1"), &json!("7")));
    assert_eq!(
        (&row[2]["type"], &row[2]["width"]),
        (&json!("embed-image"), &json!(3))
    );
    let file = row[2]["fileToken"].as_str().unwrap();
    let path = format!("/open-apis/drive/v1/medias/{file}/download");
    let media = caller.api("GET", &path, "").await.unwrap();
    assert_eq!(
        (media.header("content-type"), media.body.clone()),
        (Some("image/png"), png)
    );

    let grow = json!({"dimension": {"sheetId": "one", "majorDimension": "ROWS", "length": 5}});
    let path = "/open-apis/sheets/v2/spreadsheets/doc/dimension_range";
    let grown = caller.api("POST", path, &grow.to_string()).await.unwrap();
    assert_eq!(grown.code(), Some(0));
    let state = sandbox.state();
    let sheet = state.sheet("doc", "one").unwrap();
    assert_eq!((sheet.rows, sheet.revision), (25, 3));
}

#[tokio::test]
async fn an_unknown_call_is_json_too() {
    let (_sandbox, caller) = start().await;
    let reply = caller.api("GET", "/open-apis/nothing", "").await.unwrap();
    assert_eq!((reply.status, reply.code()), (404, Some(404)));
    assert!(reply.header("x-tt-logid").is_some());
}

#[tokio::test]
async fn the_other_documented_field_name_can_be_had() {
    let (_sandbox, caller) = start_with(Options {
        updated_range: true,
        ..options()
    })
    .await;
    let reply = caller
        .put("doc", "one!B2:B2", &fixture::png(1, 1))
        .await
        .unwrap();
    assert_eq!(reply.json()["data"]["updatedRange"], "one!B2:B2");
    assert_eq!(reply.json()["data"]["updateRange"], Value::Null);
}
