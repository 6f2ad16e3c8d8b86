//! The calls. Each is paced, carries a token, is classified, and keeps the vendor's log id.
//!
//! One call makes at most one request of its own kind, and one more when its token was refused and
//! could be renewed; waiting and repeating are the lane's concern.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use metrics::counter;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::body::{self, Picture, Sending, SourceFault};
use super::class::{Class, classify};
use super::error::{CallError, Outcome, Refusal};
use super::limit::{Crowd, Late, late};
use super::meter::{self, Kind, Meter};
use super::pace::Pace;
use super::token::{Fresh, Token, Tokens};
use super::user::{Renewed, UserToken};
use super::wire::{self, Answer, CellValue, Protection, Sheet};
use crate::a1::{CellRef, Column, Row};
use crate::config::{Feishu, Identity, ImageEncoding, SheetId, SpreadsheetToken, WikiToken};
use crate::pulse::{waiting, within};

/// Longest answer read, in bytes: the API's own bound for its longest.
const ANSWER_MOST: usize = 10 * 1024 * 1024;
/// An idle connection is given up before common gateways close it under us.
const IDLE: Duration = Duration::from_secs(50);
/// Longest wait a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    File {
        /// Its purpose.
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configured value is not usable.
    #[error("{what} is not usable: {why}")]
    Unusable {
        /// The key.
        what: &'static str,
        /// For people.
        why: String,
    },
}

/// What a successful write answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The sheet's version after the write, when the answer told it.
    pub revision: Option<u64>,
}

/// The client of one app. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>, Option<Arc<dyn Meter>>);

struct Inner {
    http: reqwest::Client,
    endpoint: Url,
    app_id: String,
    identity: Who,
    encoding: ImageEncoding,
    request_timeout: Duration,
    tokens: Tokens,
    pace: Pace,
    /// The writes in flight.
    crowd: Crowd,
    /// See [`Client::told_limit`]; 0 when no answer named one.
    told_limit: AtomicU64,
}

/// Whose token the calls carry.
enum Who {
    App {
        secret: SecretString,
    },
    User {
        token: UserToken,
        secret: Option<SecretString>,
    },
}

impl Who {
    fn of(identity: &Identity) -> Self {
        match identity {
            Identity::App { secret } => Self::App {
                secret: secret.clone(),
            },
            Identity::User { token_file, secret } => Self::User {
                token: UserToken::new(token_file.clone(), secret.is_some()),
                secret: secret.clone(),
            },
        }
    }
}

/// A call that carries a token.
enum Call<'a> {
    Get(Url),
    Post(Url, serde_json::Value),
    Write {
        url: Url,
        range: &'a str,
        name: &'a str,
        picture: &'a Picture,
    },
}

impl Client {
    /// The next call fetches a token, which then has what a person has granted meanwhile.
    pub fn forget_token(&self) {
        self.0.tokens.forget();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.0.endpoint)
    }
}

impl Client {
    /// A client for the configured app. Makes no call.
    ///
    /// # Errors
    /// When the certificate file or the proxy is not usable.
    pub fn new(config: &Feishu) -> Result<Self, ClientError> {
        // Fails only when a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("pixcell/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            // A redirect could carry the body, and with it the app's secret, to another host.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if let Some(proxy) = &config.proxy {
            let proxy = reqwest::Proxy::all(proxy.expose().clone()).map_err(|error| {
                ClientError::Unusable {
                    what: "feishu.proxy",
                    why: error.without_url().to_string(),
                }
            })?;
            http = http.proxy(proxy);
        }
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path).map_err(|source| ClientError::File {
                what: "feishu.ca_file",
                path: path.clone(),
                source,
            })?;
            let unusable = |error: reqwest::Error| ClientError::Unusable {
                what: "feishu.ca_file",
                why: error.to_string(),
            };
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(unusable)?;
            http = http.tls_certs_merge(certificates);
        }
        let http = http.build().map_err(|error| ClientError::Unusable {
            what: "the TLS or proxy setting",
            why: chain(&error.without_url()),
        })?;
        let inner = Inner {
            http,
            endpoint: config.endpoint.clone(),
            app_id: config.app_id.clone(),
            identity: Who::of(&config.identity),
            encoding: config.image_encoding,
            request_timeout: config.request_timeout,
            tokens: Tokens::default(),
            pace: Pace::new(config.requests_per_second),
            crowd: Crowd::default(),
            told_limit: AtomicU64::new(0),
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// The same client, whose calls are counted from now on.
    #[must_use]
    pub fn counted_by(&self, meter: Arc<dyn Meter>) -> Self {
        Self(Arc::clone(&self.0), Some(meter))
    }

    /// Writes `picture` into one cell.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::outcome`] tells whether the cell may hold it all the same.
    pub async fn write_image(
        &self,
        spreadsheet: &SpreadsheetToken,
        sheet: &SheetId,
        cell: CellRef,
        name: &str,
        picture: &Picture,
    ) -> Result<Receipt, CallError> {
        let range = format!("{sheet}!{cell}:{cell}");
        let url = self.url(&[
            "sheets",
            "v2",
            "spreadsheets",
            spreadsheet.as_str(),
            "values_image",
        ]);
        let write = Call::Write {
            url,
            range: &range,
            name,
            picture,
        };
        let (answer, log_id) = self.call(&write).await?;
        check_place(&answer, spreadsheet, &range, log_id)?;
        Ok(Receipt {
            revision: answer.data("revision").as_u64(),
        })
    }

    /// The sheets of a document.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn sheets(&self, spreadsheet: &SpreadsheetToken) -> Result<Vec<Sheet>, CallError> {
        let url = self.url(&[
            "sheets",
            "v3",
            "spreadsheets",
            spreadsheet.as_str(),
            "sheets",
            "query",
        ]);
        let (answer, log_id) = self.call(&Call::Get(url)).await?;
        let sheets = wire::sheets(&answer);
        if sheets.is_empty() {
            // Every document has a sheet: this says nothing of where a picture can go.
            return Err(CallError::Refused(Refusal {
                class: Class::Busy,
                status: 200,
                code: None,
                msg: "the answer lists no sheet".into(),
                log_id,
                wait: None,
            }));
        }
        Ok(sheets)
    }

    /// Which rows, columns and whole sheets of a document only some may edit (open.feishu.cn, "Get
    /// spreadsheet metadata").
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn protections(
        &self,
        spreadsheet: &SpreadsheetToken,
    ) -> Result<Vec<(SheetId, Protection)>, CallError> {
        let mut url = self.url(&[
            "sheets",
            "v2",
            "spreadsheets",
            spreadsheet.as_str(),
            "metainfo",
        ]);
        url.query_pairs_mut()
            .append_pair("extFields", "protectedRange");
        let (answer, _) = self.call(&Call::Get(url)).await?;
        Ok(wire::protections(&answer))
    }

    /// Whether a document may be edited (open.feishu.cn, "Check user permission"); `None` when the answer does
    /// not say.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn may_edit(
        &self,
        spreadsheet: &SpreadsheetToken,
    ) -> Result<Option<bool>, CallError> {
        let mut url = self.url(&[
            "drive",
            "v1",
            "permissions",
            spreadsheet.as_str(),
            "members",
            "auth",
        ]);
        url.query_pairs_mut()
            .append_pair("type", "sheet")
            .append_pair("action", "edit");
        let (answer, _) = self.call(&Call::Get(url)).await?;
        Ok(answer.data("auth_result").as_bool())
    }

    /// The limit that the latest answer with one named, in calls for a time that it does not name.
    pub fn told_limit(&self) -> Option<u64> {
        match self.0.told_limit.load(Ordering::Relaxed) {
            0 => None,
            limit => Some(limit),
        }
    }

    /// What a column says from row `first` to row `last`, or as far as it says anything. The list may
    /// be shorter than the range: what is missing at its end is empty.
    ///
    /// # Errors
    /// See [`CallError`]; a range outside the grid is a refusal of class [`Class::Cell`].
    pub async fn read_column(
        &self,
        spreadsheet: &SpreadsheetToken,
        sheet: &SheetId,
        column: Column,
        first: Row,
        last: Option<Row>,
    ) -> Result<Vec<CellValue>, CallError> {
        let last = last.map_or(String::new(), |row| row.to_string());
        let range = format!("{sheet}!{column}{first}:{column}{last}");
        let mut url = self.url(&[
            "sheets",
            "v2",
            "spreadsheets",
            spreadsheet.as_str(),
            "values",
            &range,
        ]);
        url.query_pairs_mut()
            .append_pair("valueRenderOption", "ToString");
        let (answer, log_id) = self.call(&Call::Get(url)).await?;
        // Taken for an empty column, it would have pictures overwritten.
        wire::column(&answer).ok_or_else(|| {
            CallError::Refused(Refusal {
                class: Class::Busy,
                status: 200,
                code: None,
                msg: format!("the answer holds no values for {range}"),
                log_id,
                wait: None,
            })
        })
    }

    /// Adds rows at the end of a sheet, 1 to 5,000 (open.feishu.cn, "Add rows and columns").
    ///
    /// # Errors
    /// See [`CallError`]; beyond the limit of cells a refusal of class [`Class::Full`].
    pub async fn add_rows(
        &self,
        spreadsheet: &SpreadsheetToken,
        sheet: &SheetId,
        rows: u32,
    ) -> Result<(), CallError> {
        let url = self.url(&[
            "sheets",
            "v2",
            "spreadsheets",
            spreadsheet.as_str(),
            "dimension_range",
        ]);
        let body = json!({"dimension": {
            "sheetId": sheet.as_str(), "majorDimension": "ROWS", "length": rows,
        }});
        self.call(&Call::Post(url, body)).await.map(drop)
    }

    /// The spreadsheet that hangs on a wiki node.
    ///
    /// # Errors
    /// See [`CallError`]; a node of another kind is a refusal of class [`Class::Document`].
    pub async fn wiki_node(&self, node: &WikiToken) -> Result<SpreadsheetToken, CallError> {
        let mut url = self.url(&["wiki", "v2", "spaces", "get_node"]);
        url.query_pairs_mut().append_pair("token", node.as_str());
        let (answer, log_id) = self.call(&Call::Get(url)).await?;
        let found = answer.data("node");
        let refused = |msg: String| {
            CallError::Refused(Refusal {
                class: Class::Document,
                status: 200,
                code: None,
                msg,
                log_id,
                wait: None,
            })
        };
        match (
            found["obj_type"].as_str(),
            found["obj_token"].as_str().map(str::parse),
        ) {
            (Some("sheet"), Some(Ok(token))) => Ok(token),
            (Some(kind), _) => Err(refused(format!(
                "the wiki page {node} is a {kind}, not a spreadsheet"
            ))),
            _ => Err(refused(format!("the wiki page {node} names no document"))),
        }
    }

    /// Makes a call with a token, and once more with a fresh one when the token was refused.
    async fn call(&self, call: &Call<'_>) -> Result<(Answer, Option<String>), CallError> {
        let mut token = self
            .0
            .tokens
            .get(|refused| self.fetch_token(refused))
            .await?;
        let mut renewed = false;
        loop {
            match self.call_once(call, &token).await {
                Err(CallError::Refused(refusal)) if refusal.class == Class::Token => {
                    if !self.0.tokens.refuse(&token) || renewed {
                        return Err(still_refused(refusal));
                    }
                    renewed = true;
                    token = self
                        .0
                        .tokens
                        .get(|refused| self.fetch_token(refused))
                        .await?;
                }
                Ok(done) => {
                    self.0.tokens.accepted(&token);
                    return Ok(done);
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    async fn call_once(
        &self,
        call: &Call<'_>,
        token: &Token,
    ) -> Result<(Answer, Option<String>), CallError> {
        match call {
            Call::Get(url) => {
                let request = self.request(Method::GET, url.clone(), token);
                let sent = self.send(Kind::Counted, request, None).await;
                counted("read", sent)
            }
            Call::Post(url, body) => {
                let request = self.request(Method::POST, url.clone(), token);
                let request = request.body(body.to_string());
                self.send(Kind::Counted, request, None).await
            }
            Call::Write {
                url,
                range,
                name,
                picture,
            } => {
                let (body, sending) = body::start(picture, self.0.encoding, range, name)
                    .await
                    .map_err(CallError::Source)?;
                let request = self.request(Method::POST, url.clone(), token);
                let request = request.body(reqwest::Body::wrap(body));
                let sent = self.send(Kind::Counted, request, Some(&sending)).await;
                counted("write", sent)
            }
        }
    }

    async fn fetch_token(&self, refused: Option<Arc<SecretString>>) -> Result<Fresh, CallError> {
        let secret = match &self.0.identity {
            Who::App { secret } => secret,
            Who::User { token, secret } => {
                let renew = |refresh| self.renew_user_token(refresh, secret.as_ref());
                return token.fetch(refused.as_deref(), renew).await;
            }
        };
        let url = self.url(&["auth", "v3", "tenant_access_token", "internal"]);
        let body = json!({"app_id": self.0.app_id, "app_secret": secret.expose_secret()});
        let request = self
            .0
            .http
            .post(url)
            .header(CONTENT_TYPE, JSON)
            .body(body.to_string());
        let sent = self.send(Kind::Token, request, None).await;
        let (answer, log_id) = counted("token", sent).map_err(as_credentials)?;
        let value = answer.rest["tenant_access_token"]
            .as_str()
            .filter(|value| !value.is_empty());
        match value {
            Some(value) => Ok(Fresh {
                value: value.into(),
                lifetime: Duration::from_secs(answer.rest["expire"].as_u64().unwrap_or(0)),
            }),
            None => Err(no_token(log_id)),
        }
    }

    async fn renew_user_token(
        &self,
        refresh: SecretString,
        secret: Option<&SecretString>,
    ) -> Result<Renewed, CallError> {
        let body = json!({
            "grant_type": "refresh_token",
            "client_id": self.0.app_id,
            "client_secret": secret.map(ExposeSecret::expose_secret),
            "refresh_token": refresh.expose_secret(),
        });
        let url = self.url(&["authen", "v2", "oauth", "token"]);
        let request = self.0.http.post(url).header(CONTENT_TYPE, JSON);
        let request = request
            .body(body.to_string())
            .timeout(self.0.request_timeout);
        let sent = self.send(Kind::Token, request, None).await;
        let (answer, log_id) = counted("token", sent)?;
        let secret = |name: &str| answer.rest[name].as_str().filter(|value| !value.is_empty());
        let access = secret("access_token").ok_or_else(|| no_token(log_id))?;
        Ok(Renewed {
            access: access.into(),
            refresh: secret("refresh_token").map(SecretString::from),
            lifetime: Duration::from_secs(answer.rest["expires_in"].as_u64().unwrap_or(0)),
        })
    }

    fn request(&self, method: Method, url: Url, token: &Token) -> RequestBuilder {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.value.expose_secret()))
            .unwrap_or(HeaderValue::from_static("Bearer"));
        bearer.set_sensitive(true);
        self.0
            .http
            .request(method, url)
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, JSON)
    }

    /// Sends one request in its turn and reads the answer. A write tells how its body goes.
    async fn send(
        &self,
        kind: Kind,
        request: RequestBuilder,
        sending: Option<&Sending>,
    ) -> Result<(Answer, Option<String>), CallError> {
        waiting(self.0.pace.turn()).await;
        if let Some(meter) = &self.1 {
            meter.spend(kind).await.map_err(CallError::Withheld)?;
        }
        let done = if let Some(sending) = sending {
            // It ends by its own limits, which grow while others share the link.
            waiting(self.write(request, sending)).await
        } else {
            let limit = self.0.request_timeout;
            within(limit, self.exchange(request.timeout(limit))).await
        };
        if let (Some(meter), Err(error)) = (&self.1, &done)
            && kind == Kind::Counted
            && meter::is_free(error)
        {
            meter.refund();
        }
        done
    }

    /// A write has limits of its own, and a body that may break off.
    async fn write(
        &self,
        request: RequestBuilder,
        sending: &Sending,
    ) -> Result<(Answer, Option<String>), CallError> {
        let crowd = self.0.crowd.join();
        let timeout = self.0.request_timeout;
        let done = tokio::select! {
            done = self.exchange(request) => done,
            limit = late(timeout, sending.length, &sending.progress, &crowd) => {
                Err(given_up(limit, sending.progress.left()))
            }
        };
        match sending.fault.get() {
            Some(broken) => Err(CallError::Source(broken.clone())),
            None => done,
        }
    }

    /// Makes one request and reads the answer.
    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(Answer, Option<String>), CallError> {
        let response = request.send().await.map_err(network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = header(&headers, "x-ogw-ratelimit-limit");
        if let Some(limit) = limit.and_then(|limit| limit.trim().parse().ok()) {
            self.0.told_limit.store(limit, Ordering::Relaxed);
        }
        let text = read_answer(response).await.map_err(network)?;
        judge(status, &headers, &text, header(&headers, "x-tt-logid"))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.0.endpoint.clone();
        // Segments are encoded; an endpoint is http(s) and so can have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("open-apis").extend(path);
        }
        url
    }
}

const JSON: &str = "application/json; charset=utf-8";

/// Counts a call by what came of it.
fn counted<T>(endpoint: &'static str, done: Result<T, CallError>) -> Result<T, CallError> {
    let class = match &done {
        Ok(_) => "ok",
        Err(CallError::Refused(refusal)) => refusal.class.label(),
        Err(CallError::Network { .. }) => "network",
        Err(CallError::Source(_)) => "file_changed",
        // No call was made.
        Err(CallError::Withheld(_) | CallError::NoToken(_)) => return done,
    };
    counter!("pixcell_calls_total", "endpoint" => endpoint, "class" => class).increment(1);
    done
}

/// Reads at most [`ANSWER_MOST`] bytes.
async fn read_answer(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > ANSWER_MOST {
            text.clear();
            break;
        }
    }
    Ok(text)
}

fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    text: &[u8],
    log_id: Option<String>,
) -> Result<(Answer, Option<String>), CallError> {
    let parsed: Option<Answer> = serde_json::from_slice(text).ok();
    let code = parsed.as_ref().map(|answer| answer.code);
    match parsed {
        Some(answer) if status.is_success() && answer.code == 0 => Ok((answer, log_id)),
        parsed => Err(CallError::Refused(Refusal {
            class: classify(status.as_u16(), code),
            status: status.as_u16(),
            code,
            msg: parsed.map_or_else(|| no_json(text), |answer| printable(&answer.msg)),
            log_id,
            wait: asked_wait(headers),
        })),
    }
}

/// Success for another place than the one sent is a fault: nobody knows which cell changed.
fn check_place(
    answer: &Answer,
    spreadsheet: &SpreadsheetToken,
    range: &str,
    log_id: Option<String>,
) -> Result<(), CallError> {
    let told = |field| answer.data(field).as_str();
    let place = told("updateRange").or_else(|| told("updatedRange"));
    let document = told("spreadsheetToken");
    let single = range.split(':').next();
    let fits = place.is_none_or(|place| place == range || Some(place) == single)
        && document.is_none_or(|document| document == spreadsheet.as_str());
    if fits {
        return Ok(());
    }
    let (place, document) = (place.unwrap_or("?"), document.unwrap_or("?"));
    Err(CallError::Refused(Refusal {
        class: Class::Unknown,
        status: 200,
        code: None,
        msg: printable(&format!(
            "success for {place} in {document} instead of {range} in {spreadsheet}"
        )),
        log_id,
        wait: None,
    }))
}

/// A wait that the server names, in seconds.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| header(headers, name)?.trim().parse::<f64>().ok();
    let named = seconds("x-ogw-ratelimit-reset").or_else(|| seconds("retry-after"))?;
    let wait = Duration::try_from_secs_f64(named).ok()?;
    // None at all would be an invitation to go on at full pace: then our own back-off holds.
    (!wait.is_zero()).then(|| wait.min(LONGEST_WAIT))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(printable)
}

fn still_refused(refusal: Refusal) -> CallError {
    CallError::Refused(Refusal {
        class: Class::Credentials,
        ..refusal
    })
}

fn no_token(log_id: Option<String>) -> CallError {
    CallError::Refused(Refusal {
        class: Class::Busy,
        status: 200,
        code: None,
        msg: "the answer holds no token".into(),
        log_id,
        wait: None,
    })
}

/// The token call itself has no token to renew.
fn as_credentials(error: CallError) -> CallError {
    match error {
        CallError::Refused(refusal) if refusal.class == Class::Token => still_refused(refusal),
        other => other,
    }
}

fn network(error: reqwest::Error) -> CallError {
    // Without a connection nothing was sent; after that nobody knows.
    let (outcome, class) = if error.is_connect() {
        (Outcome::Untouched, Class::Unreached)
    } else {
        (Outcome::Unknown, Class::Busy)
    };
    let kind = match () {
        () if error.is_connect() => "the API cannot be reached",
        () if error.is_timeout() => "the API did not answer in time",
        () => "the connection to the API broke",
    };
    let error = error.without_url();
    CallError::Network {
        what: format!("{kind} ({})", chain(&error)),
        outcome,
        class,
    }
}

/// A write that passed a limit of time with so many bytes of its body left.
fn given_up(limit: Late, left: u64) -> CallError {
    let sent = match left {
        0 => "all was sent".to_owned(),
        left => format!("{} were not sent yet", ByteSize(left).display().iec()),
    };
    let what = match limit {
        Late::Idle(idle) => {
            format!("the API did not answer in time (nothing moved for {idle:.0?}; {sent})")
        }
        Late::Slow(took) => {
            format!("the API did not answer in time (the link is too slow: {took:.0?}; {sent})")
        }
    };
    // Nothing can come of a body that is not whole.
    let outcome = match left {
        0 => Outcome::Unknown,
        _ => Outcome::Untouched,
    };
    CallError::Network {
        what,
        outcome,
        class: Class::Busy,
    }
}

/// The innermost causes, which say more than reqwest's own words.
fn chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.dedup();
    match texts.len() {
        0 => printable(&error.to_string()),
        many => printable(&texts[many.saturating_sub(2)..].join(": ")),
    }
}

fn no_json(text: &[u8]) -> String {
    match String::from_utf8_lossy(&text[..text.len().min(80)]).trim() {
        "" => "an empty answer".into(),
        start => printable(&format!("not JSON: {start}")),
    }
}

/// One line of bounded length, whatever the server said.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

impl From<SourceFault> for CallError {
    fn from(fault: SourceFault) -> Self {
        Self::Source(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[rstest]
    #[case(&[("x-ogw-ratelimit-reset", "3")], Some(3.0))]
    #[case(&[("retry-after", "7"), ("x-ogw-ratelimit-reset", "3")], Some(3.0))]
    #[case(&[("retry-after", "7")], Some(7.0))]
    #[case(&[("x-ogw-ratelimit-reset", "1e9")], Some(600.0))]
    #[case(&[("x-ogw-ratelimit-reset", "-1")], None)]
    #[case(&[("x-ogw-ratelimit-reset", "0")], None)]
    #[case(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None)]
    #[case(&[], None)]
    fn a_wait_is_read_from_the_headers(
        #[case] pairs: &[(&'static str, &'static str)],
        #[case] seconds: Option<f64>,
    ) {
        assert_eq!(
            asked_wait(&headers(pairs)).map(|wait| wait.as_secs_f64()),
            seconds
        );
    }

    #[rstest]
    #[case(200, r#"{"code":0,"msg":"success","data":{}}"#, None)]
    #[case(200, r#"{"code":90218,"msg":"locked"}"#, Some(Class::Cell))]
    #[case(500, r#"{"code":0,"msg":"success","data":{}}"#, Some(Class::Busy))]
    #[case(
        200,
        "<html>Sign in to the hotel's network</html>",
        Some(Class::Unreached)
    )]
    #[case(200, "", Some(Class::Unreached))]
    #[case(307, "", Some(Class::Unreached))]
    fn success_takes_both_the_status_and_the_code(
        #[case] status: u16,
        #[case] text: &str,
        #[case] class: Option<Class>,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let judged = judge(status, &HeaderMap::new(), text.as_bytes(), None);
        assert_eq!(judged.err().and_then(|error| error.class()), class);
    }

    #[rstest]
    #[case(r#"{"updateRange":"Q7!H7:H7","spreadsheetToken":"Tok"}"#, true)]
    #[case(r#"{"updatedRange":"Q7!H7:H7"}"#, true)]
    #[case(r#"{"updateRange":"Q7!H7"}"#, true)]
    #[case("{}", true)]
    #[case(r#"{"updateRange":"Q7!H8:H8"}"#, false)]
    #[case(r#"{"spreadsheetToken":"Other"}"#, false)]
    fn success_must_be_for_the_place_that_was_sent(#[case] data: &str, #[case] fits: bool) {
        let text = format!(r#"{{"code":0,"data":{data}}}"#);
        let answer: Answer = serde_json::from_str(&text).unwrap();
        let checked = check_place(&answer, &"Tok".parse().unwrap(), "Q7!H7:H7", None);
        assert_eq!(checked.is_ok(), fits);
    }

    #[test]
    fn a_servers_words_are_one_bounded_line() {
        let told = no_json("<html>\n\u{1b}[31m".repeat(99).as_bytes());
        assert!(
            !told.contains(['\n', '\u{1b}']) && told.len() < 100,
            "{told}"
        );
    }
}
