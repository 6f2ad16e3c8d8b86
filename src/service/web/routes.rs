//! What is answered at which path. Reads only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use super::guard::{self, Guard};
use super::picture::{Late, Readers};
use super::view::{View, Views};
use super::{Sources, metrics, page};
use crate::image::ContentHash;

/// Pages that follow at a time; fewer than connections, so that others are still answered.
const FOLLOWERS_MOST: usize = 32;
/// How often it is looked whether something changed that no lane told of.
const LOOK: Duration = Duration::from_millis(500);
/// A comment goes out this often, so that a page that left is noticed.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Served {
    views: Arc<Views>,
    versions: watch::Receiver<String>,
    metrics: PrometheusHandle,
    followers: Arc<Semaphore>,
    readers: Arc<Readers>,
}

/// All paths.
pub(super) fn router(
    views: Arc<Views>,
    versions: watch::Receiver<String>,
    metrics: PrometheusHandle,
    guard: Guard,
) -> Router {
    let readers = Arc::new(Readers::new(&views.sources.routes));
    let served = Served {
        views,
        versions,
        metrics,
        followers: Arc::new(Semaphore::new(FOLLOWERS_MOST)),
        readers,
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/view", get(view))
        .route("/api/status", get(status))
        .route("/api/events", get(events))
        .route("/api/pictures/{hash}", get(show_picture))
        .with_state(served)
        .merge(page::routes())
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing here"))
        .layer(middleware::from_fn_with_state(guard, guard::guard))
}

/// Tells pages when the view changes, until `stop`. Looks only while somebody follows.
pub(super) async fn follow(
    views: &Views,
    changes: watch::Sender<String>,
    stop: &CancellationToken,
) {
    let mut events = views.sources.events.subscribe();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
            // Missed ones say the same.
            event = events.recv() => if let Err(broadcast::error::RecvError::Closed) = event {
                return;
            },
        }
        // The router holds one receiver.
        if changes.receiver_count() > 1
            && let Some(view) = views.get().await
        {
            changes.send_if_modified(|version| {
                let changed = *version != view.version;
                version.clone_from(&view.version);
                changed
            });
        }
    }
}

/// Not from the view: what waits for this must not be a reading behind.
async fn ready(State(served): State<Served>) -> Response {
    if *served.views.sources.ready.borrow() {
        return "ready\n".into_response();
    }
    let why = "the folders are still being compared";
    problem(StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn scrape(State(served): State<Served>) -> Response {
    let Some(view) = served.views.get().await else {
        return no_view();
    };
    let size = served
        .views
        .sources
        .store
        .call(crate::store::Store::size_on_disk)
        .await;
    metrics::observe(&view.snapshot, &served.views.sources.routes, size);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, media_type)],
        served.metrics.render(),
    )
        .into_response()
}

async fn view(State(served): State<Served>, headers: HeaderMap) -> Response {
    let Some(view) = served.views.get().await else {
        return no_view();
    };
    let tag = format!("\"{}\"", view.version);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let tagged = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".into()),
    ];
    (tagged, json(view.json.clone())).into_response()
}

async fn status(State(served): State<Served>) -> Response {
    let view: Option<Arc<View>> = served.views.get().await;
    view.map_or_else(no_view, |view| json(view.status.clone()))
}

async fn events(State(served): State<Served>) -> Response {
    let Ok(seat) = Arc::clone(&served.followers).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages follow already",
        );
    };
    let versions = WatchStream::new(served.versions.clone()).map(move |version| {
        // Moved here so that it is given back when the page leaves.
        let _held = &seat;
        Ok::<_, Infallible>(Event::default().event("view").data(version))
    });
    let stream = Sse::new(versions).keep_alive(KeepAlive::new().interval(ALIVE));
    // Or nginx keeps the events until it has a page of them.
    ([("x-accel-buffering", "no")], stream).into_response()
}

async fn show_picture(State(served): State<Served>, Path(hash): Path<String>) -> Response {
    let gone = || {
        problem(
            StatusCode::NOT_FOUND,
            "no cell that is shown holds a picture of this hash, or its file has changed",
        )
    };
    let (Some(hash), Some(view)) = (ContentHash::from_hex(&hash), served.views.get().await) else {
        return gone();
    };
    let Some(key) = view.pictures.get(&hash).cloned() else {
        return gone();
    };
    let late = || {
        problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the folder of this picture is not there or does not answer",
        )
    };
    if view.is_away(&key.mapping) {
        return late();
    }
    let Sources { store, routes, .. } = &served.views.sources;
    match served.readers.read(store, routes, key, hash).await {
        Ok(Some((media_type, bytes))) => {
            let headers = [
                (header::CONTENT_TYPE, media_type),
                // Named after its content.
                (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
            ];
            (headers, bytes).into_response()
        }
        Ok(None) => gone(),
        Err(Late) => late(),
    }
}

fn json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn no_view() -> Response {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the store does not answer; the log says why",
    )
}

fn problem(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}
