//! The page and what belongs to it: compiled in, nothing from elsewhere.

use axum::Router;
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::control::guard;

/// Only the page's own script, style, pictures and calls; nothing inline, no framing.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The routes of the page.
pub fn routes() -> Router {
    Router::new()
        .route(
            "/",
            get(async || file("text/html", include_str!("page.html"))),
        )
        .route(
            "/_sandbox/page.css",
            get(async || file("text/css", include_str!("page.css"))),
        )
        .route(
            "/_sandbox/page.js",
            get(async || file("text/javascript", include_str!("page.js"))),
        )
        .route(
            "/_sandbox/icon.svg",
            get(async || file("image/svg+xml", include_str!("icon.svg"))),
        )
        .layer(middleware::from_fn(guard))
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, format!("{media_type}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text).into_response()
}
