//! The control plane: JSON under `/_sandbox/`. Served to loopback names only, see [`guard`].
//!
//! | call | does |
//! | --- | --- |
//! | `GET state?calls=N` | everything; the last N calls, all that are kept by default |
//! | `GET events` | server-sent events: the version, whenever it changes |
//! | `POST faults`, `DELETE faults` | adds a fault; forgets all |
//! | `POST tokens/expire` | every token ends now |
//! | `POST documents` | makes or changes a document |
//! | `POST hold`, `POST release` | blocks calls before their effect; lets them go |
//! | `GET cells/{spreadsheet}/{sheet}/{cell}/image` | the picture's bytes |

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State as Held};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::Frame;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use super::faults::Fault;
use super::shared::Shared;
use super::spec::DocumentSpec;
use super::state::MAX_CALLS;
use super::work::media_type;

/// Least time between two events: a page needs no more, however busy the stand-in is.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// A comment goes out this often, so that a page that left is noticed.
const EVENT_ALIVE: Duration = Duration::from_secs(15);

/// The routes. Streams of events end with `stop`.
pub fn routes(shared: Arc<Shared>, stop: CancellationToken) -> Router {
    let events = {
        let shared = Arc::clone(&shared);
        move || async move { events(&shared, stop) }
    };
    Router::new()
        .route("/_sandbox/state", get(state))
        .route("/_sandbox/faults", post(add_fault).delete(clear_faults))
        .route("/_sandbox/tokens/expire", post(expire_tokens))
        .route("/_sandbox/documents", post(set_document))
        .route("/_sandbox/hold", post(hold))
        .route("/_sandbox/release", post(release))
        .route(
            "/_sandbox/cells/{spreadsheet}/{sheet}/{cell}/image",
            get(image),
        )
        .with_state(shared)
        .route("/_sandbox/events", get(events))
        .layer(middleware::from_fn(guard))
}

/// Refuses what a page of another site could send: a name that is not loopback (DNS rebinding), a
/// foreign origin.
pub async fn guard(request: Request, next: Next) -> Response {
    match check_origin(request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => problem(status, why),
    }
}

fn check_origin(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let text = |name| headers.get(name)?.to_str().ok();
    let host = text(header::HOST).ok_or((StatusCode::BAD_REQUEST, "the header Host is missing"))?;
    if !is_loopback(host) {
        return Err((
            StatusCode::FORBIDDEN,
            "the sandbox is served to loopback names only",
        ));
    }
    let same = headers
        .get(header::ORIGIN)
        .is_none_or(|origin| origin.as_bytes() == format!("http://{host}").as_bytes());
    if same {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "not for pages of another origin"))
    }
}

fn is_loopback(host: &str) -> bool {
    // As in a URL: the port is whatever follows the last colon outside brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn state(Held(shared): Held<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let mut state = shared.look(|inner| inner.state.clone());
    let query = query.unwrap_or_default();
    let asked = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "calls")
        .and_then(|(_, value)| value.parse().ok());
    let surplus = state.calls.len() - asked.unwrap_or(MAX_CALLS).min(state.calls.len());
    state.calls.drain(..surplus);
    match serde_json::to_string(&state) {
        Ok(text) => json_answer(StatusCode::OK, text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn add_fault(Held(shared): Held<Arc<Shared>>, body: Bytes) -> Response {
    done(
        read::<Fault>(&body).and_then(|fault| shared.change(|inner| inner.state.faults.add(fault))),
    )
}

async fn clear_faults(Held(shared): Held<Arc<Shared>>) -> Response {
    shared.change(|inner| inner.state.faults.clear());
    done(Ok(()))
}

async fn expire_tokens(Held(shared): Held<Arc<Shared>>) -> Response {
    let now = shared.now();
    shared.change(|inner| inner.tokens.expire_all(now));
    done(Ok(()))
}

async fn set_document(Held(shared): Held<Arc<Shared>>, body: Bytes) -> Response {
    done(
        read::<DocumentSpec>(&body)
            .and_then(|document| shared.change(|inner| inner.state.documents.apply(&document))),
    )
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

async fn hold(Held(shared): Held<Arc<Shared>>, body: Bytes) -> Response {
    // An empty body holds everything.
    let asked = if body.is_empty() {
        Ok(Hold::default())
    } else {
        read::<Hold>(&body)
    };
    done(asked.map(|hold| shared.set_hold(Some(&hold.endpoints))))
}

async fn release(Held(shared): Held<Arc<Shared>>) -> Response {
    shared.set_hold(None);
    done(Ok(()))
}

async fn image(
    Held(shared): Held<Arc<Shared>>,
    Path((spreadsheet, sheet, cell)): Path<(String, String, String)>,
) -> Response {
    let found = shared.look(|inner| {
        let image = inner.state.image(&spreadsheet, &sheet, &cell)?;
        Some((image.format, inner.shelf.get(&image.file_token)?))
    });
    match found {
        Some((format, bytes)) => {
            let mut headers = HeaderMap::new();
            let typed = [
                (header::CONTENT_TYPE, media_type(format)),
                // The page asks with the picture's own token in the query, so what it holds stays right.
                (header::CACHE_CONTROL, "private, max-age=3600"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; sandbox",
                ),
            ];
            for (name, value) in typed {
                headers.insert(name, header::HeaderValue::from_static(value));
            }
            (headers, bytes).into_response()
        }
        None => problem(
            StatusCode::NOT_FOUND,
            "there is no picture, or its bytes made room for newer ones",
        ),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => answer(StatusCode::OK, &json!({"ok": true})),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

fn problem(status: StatusCode, why: &str) -> Response {
    answer(status, &json!({"error": why}))
}

fn answer(status: StatusCode, value: &Value) -> Response {
    json_answer(status, value.to_string())
}

fn json_answer(status: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

fn events(shared: &Arc<Shared>, stop: CancellationToken) -> Response {
    let mut versions = shared.versions();
    // One event at a time: a slow page skips versions, it does not queue them.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let version = *versions.borrow_and_update();
            if sender
                .send(format!("data: {version}\n\n").into())
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(EVENT_PAUSE).await;
            loop {
                let alive = tokio::select! {
                    () = stop.cancelled() => return,
                    () = sender.closed() => return,
                    changed = versions.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(EVENT_ALIVE) => Bytes::from_static(b": alive\n\n"),
                };
                if sender.send(alive).await.is_err() {
                    return;
                }
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::new(Events(receiver))).into_response()
}

/// A body that ends when its sender does.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("localhost", true)]
    #[case("LocalHost:8080", true)]
    #[case("127.0.0.1:1", true)]
    #[case("127.9.9.9", true)]
    #[case("[::1]:8080", true)]
    #[case("[::1]", true)]
    #[case("evil.example", false)]
    #[case("localhost.evil.example:80", false)]
    #[case("192.168.1.2:80", false)]
    #[case("127.0.0.1.evil.example", false)]
    #[case("", false)]
    fn only_loopback_names_are_served(#[case] host: &str, #[case] served: bool) {
        assert_eq!(is_loopback(host), served);
    }
}
