//! The control plane and the page.

use rstest::rstest;
use serde_json::json;

use super::super::fixture;
use super::{SOON, start};
use crate::image::ContentHash;

#[tokio::test]
async fn the_control_plane_steers_and_shows() {
    let (sandbox, caller) = start().await;
    let ok = |reply: &fixture::Reply| assert_eq!(reply.status, 200, "{}", reply.json());
    let document = json!({"token": "new", "sheets": [{"id": "s1", "rows": 5, "columns": 5}]});
    ok(&caller
        .local("POST", "/_sandbox/documents", &document.to_string())
        .await);
    let fault = json!({"endpoints": ["values_image"], "answer": {"status": 500, "code": 5000}});
    ok(&caller
        .local("POST", "/_sandbox/faults", &fault.to_string())
        .await);
    ok(&caller.local("DELETE", "/_sandbox/faults", "").await);
    let png = fixture::png(3, 2);
    assert_eq!(
        caller.put("new", "s1!E5:E5", &png).await.unwrap().code(),
        Some(0)
    );

    let state = caller
        .local("GET", "/_sandbox/state?calls=1", "")
        .await
        .json();
    let cell = &state["documents"]["new"]["sheets"][0]["cells"]["E5"];
    assert_eq!(
        (&cell["kind"], &cell["width"]),
        (&json!("image"), &json!(3))
    );
    assert_eq!(cell["blake3"], ContentHash::of(&png).to_hex());
    assert_eq!(state["calls"].as_array().unwrap().len(), 1);
    assert_eq!(state["calls_by_endpoint"]["values_image"], 1);
    let image = caller
        .local("GET", "/_sandbox/cells/new/s1/E5/image", "")
        .await;
    assert_eq!(
        (image.header("content-type"), image.body.clone()),
        (Some("image/png"), png.clone())
    );

    ok(&caller
        .local(
            "POST",
            "/_sandbox/hold",
            r#"{"endpoints":["values_image"]}"#,
        )
        .await);
    let release = async {
        sandbox
            .wait_for(|state| state.held() == 1, SOON)
            .await
            .unwrap();
        ok(&caller.local("POST", "/_sandbox/release", "").await);
    };
    let (held, ()) = tokio::join!(caller.put("new", "s1!A1:A1", &png), release);
    assert_eq!(held.unwrap().code(), Some(0));

    ok(&caller.local("POST", "/_sandbox/tokens/expire", "").await);
    let reply = caller.put("new", "s1!A1:A1", &png).await.unwrap();
    assert_eq!(reply.code(), Some(99_991_663));
}

#[rstest]
#[case("/_sandbox/faults", r#"{"time": 1}"#)]
#[case("/_sandbox/documents", r#"{"token": "a/b"}"#)]
#[case(
    "/_sandbox/documents",
    r#"{"token": "ab", "sheets": [{"id": "s", "columns": 13001}]}"#
)]
#[case("/_sandbox/hold", r#"{"endpoints": ["nothing"]}"#)]
#[tokio::test]
async fn a_wrong_order_is_refused(#[case] path: &str, #[case] body: &str) {
    let (_sandbox, caller) = start().await;
    let reply = caller.local("POST", path, body).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"].is_string());
}

#[rstest]
#[case::page("/", "text/html; charset=utf-8")]
#[case::style("/_sandbox/page.css", "text/css; charset=utf-8")]
#[case::script("/_sandbox/page.js", "text/javascript; charset=utf-8")]
#[tokio::test]
async fn the_page_comes_with_a_strict_policy(#[case] path: &str, #[case] media_type: &str) {
    let (_sandbox, caller) = start().await;
    let reply = caller.local("GET", path, "").await;
    assert_eq!(reply.header("content-type"), Some(media_type));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
}

#[test]
fn the_page_names_nothing_from_elsewhere_and_nothing_inline() {
    let page = include_str!("../page.html");
    for text in [
        page,
        include_str!("../page.css"),
        include_str!("../page.js"),
    ] {
        assert!(!text.contains("https://") && !text.contains("//cdn"));
        assert!(!text.contains("innerHTML") && !text.contains("eval("));
    }
    for inline in ["style=", "<style", " onclick", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[rstest]
#[case("Host: evil.example\r\n", 403)]
#[case("Host: localhost:1\r\n", 200)]
#[case("Host: localhost:1\r\nOrigin: http://evil.example\r\n", 403)]
#[case("Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200)]
#[tokio::test]
async fn page_and_control_plane_are_for_loopback_names(#[case] head: &str, #[case] status: u16) {
    let (_sandbox, caller) = start().await;
    for path in ["/", "/_sandbox/state", "/_sandbox/page.js"] {
        let reply = caller.raw("GET", path, head, b"").await.unwrap();
        assert_eq!(reply.status, status, "{path}");
    }
}

#[tokio::test]
async fn pages_are_told_of_every_change() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let (sandbox, caller) = start().await;
    let stream = tokio::net::TcpStream::connect(sandbox.addr())
        .await
        .unwrap();
    let mut stream = BufReader::new(stream);
    let request = format!(
        "GET /_sandbox/events HTTP/1.1\r\nHost: {}\r\n\r\n",
        sandbox.addr()
    );
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .await
        .unwrap();
    let mut lines = stream.lines();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let line = tokio::time::timeout(SOON, lines.next_line()).await;
        let line = line.unwrap().unwrap().unwrap();
        if let Some(version) = line.strip_prefix("data: ") {
            seen.push(version.parse::<u64>().unwrap());
            caller
                .put("doc", "one!A1:A1", &fixture::png(1, 1))
                .await
                .unwrap();
        }
    }
    assert!(seen[0] < seen[1], "{seen:?}");
    // A stream that never ends by itself must not keep the stand-in from stopping.
    tokio::time::timeout(SOON, sandbox.stop()).await.unwrap();
}
