//! Who may ask: only methods that read, only names of this machine (a foreign name is DNS rebinding), no
//! page of another origin, and with a token configured only who shows it. Every answer carries the
//! headers that keep a browser from doing more with it than the page does.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use secrecy::{ExposeSecret, SecretString};

/// Only the page's own script, style, pictures and calls; nothing inline, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Probes of a service manager carry no token, and these say nothing of what is watched.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Who may ask.
#[derive(Debug, Clone)]
pub(super) struct Guard(Option<Arc<SecretString>>);

impl Guard {
    pub(super) fn new(token: Option<SecretString>) -> Self {
        Self(token.map(Arc::new))
    }

    fn check(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let why = "this server only reads: GET and HEAD";
            return Err((StatusCode::METHOD_NOT_ALLOWED, why));
        }
        let text = |name| headers.get(name)?.to_str().ok();
        let host =
            text(header::HOST).ok_or((StatusCode::BAD_REQUEST, "the header Host is missing"))?;
        // Whoever shows the token knows whom it asks; a rebound name has none to show.
        if self.0.is_none() && !is_loopback(host) {
            let why = "served to this machine's own names only: localhost, 127.0.0.1, [::1]";
            return Err((StatusCode::FORBIDDEN, why));
        }
        let foreign = headers.get(header::ORIGIN).is_some_and(|origin| {
            ["http", "https"]
                .iter()
                .all(|scheme| origin.as_bytes() != format!("{scheme}://{host}").as_bytes())
        });
        if foreign {
            return Err((StatusCode::FORBIDDEN, "not for pages of another origin"));
        }
        match &self.0 {
            Some(token) if !OPEN.contains(&path) && !shows(headers, token) => Err((
                StatusCode::UNAUTHORIZED,
                "the token of status.token_file is asked for",
            )),
            _ => Ok(()),
        }
    }
}

/// The middleware.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let checked = guard.check(request.method(), request.uri().path(), request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err((status, why)) => (status, format!("{why}\n")).into_response(),
    };
    let status = response.status();
    let headers = response.headers_mut();
    let always = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        StatusCode::UNAUTHORIZED => {
            let ask = HeaderValue::from_static("Basic realm=\"pixcell\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, ask);
        }
        _ => {}
    }
    response
}

fn is_loopback(host: &str) -> bool {
    // The port does not matter: it is another one behind a tunnel.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `Bearer TOKEN`, or `Basic` with any name and the token as password, as browsers ask for it.
fn shows(headers: &HeaderMap, token: &SecretString) -> bool {
    let shown = || {
        let (scheme, value) = headers
            .get(header::AUTHORIZATION)?
            .to_str()
            .ok()?
            .split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(value.trim().as_bytes().to_vec());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = BASE64_STANDARD.decode(value.trim()).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        Some(pair[colon + 1..].to_vec())
    };
    // Hashes are compared in constant time, and so tell nothing of the token's beginning.
    shown()
        .is_some_and(|shown| blake3::hash(&shown) == blake3::hash(token.expose_secret().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn asked(guard: &Guard, method: &Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let map = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        guard
            .check(method, path, &map)
            .map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[rstest]
    #[case::localhost(&[("host", "localhost:8484")], 200)]
    #[case::capitals(&[("host", "LocalHost")], 200)]
    #[case::v4(&[("host", "127.0.0.1:8484")], 200)]
    #[case::v6(&[("host", "[::1]:8484")], 200)]
    #[case::tunnel(&[("host", "localhost:9000")], 200)]
    #[case::none(&[], 400)]
    #[case::rebound(&[("host", "evil.example:8484")], 403)]
    #[case::prefix(&[("host", "localhost.evil.example")], 403)]
    #[case::numbers(&[("host", "127.0.0.1.evil.example:8484")], 403)]
    #[case::network(&[("host", "192.168.1.7:8484")], 403)]
    #[case::own_page(&[("host", "localhost:8484"), ("origin", "http://localhost:8484")], 200)]
    #[case::other_page(&[("host", "localhost:8484"), ("origin", "http://evil.example")], 403)]
    #[case::other_port(&[("host", "localhost:8484"), ("origin", "http://localhost:80")], 403)]
    #[case::no_origin(&[("host", "localhost:8484"), ("origin", "null")], 403)]
    fn only_this_machines_names_and_pages_are_answered(
        #[case] headers: &[(&str, &str)],
        #[case] status: u16,
    ) {
        assert_eq!(asked(&Guard::new(None), &Method::GET, "/", headers), status);
    }

    #[rstest]
    #[case::none(&[], 401)]
    #[case::bearer(&[("authorization", "Bearer open sesame")], 200)]
    #[case::basic(&[("authorization", "Basic bWU6b3BlbiBzZXNhbWU=")], 200)]
    #[case::wrong(&[("authorization", "Bearer open sesam")], 401)]
    #[case::wrong_basic(&[("authorization", "Basic b3BlbiBzZXNhbWU6bWU=")], 401)]
    #[case::broken(&[("authorization", "Basic %%%")], 401)]
    #[case::other_scheme(&[("authorization", "Digest open sesame")], 401)]
    fn a_token_is_asked_for_and_the_name_is_free(
        #[case] headers: &[(&str, &str)],
        #[case] status: u16,
    ) {
        let guard = Guard::new(Some("open sesame".into()));
        let headers = [&[("host", "kiosk.example:8484")], headers].concat();
        assert_eq!(asked(&guard, &Method::GET, "/api/view", &headers), status);
        assert_eq!(asked(&guard, &Method::GET, "/healthz", &headers), 200);
    }

    #[test]
    fn nothing_can_be_changed() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let method = method.parse().unwrap();
            let headers = [("host", "localhost")];
            assert_eq!(
                asked(&Guard::new(None), &method, "/api/view", &headers),
                405
            );
        }
    }
}
