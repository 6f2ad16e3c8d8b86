//! The calls. Each is paced, carries a token, is classified, and keeps the vendor's log id.
//!
//! One call makes at most one request of its own kind, and one more when its token was refused and
//! could be renewed; waiting and repeating are the lane's concern.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::counter;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use secrecy::ExposeSecret;
use serde_json::json;

use self::identity::Who;
use super::answer::{
    Place, chain, check_place, given_up, header, judge, network, read_answer, still_refused,
};
use super::body::{self, Hold, Picture, Prepared, Sending};
use super::class::Class;
use super::error::{CallError, Refusal};
use super::limit::{Crowd, late};
use super::meter::{self, Kind, Leave, Meter};
use super::pace::Pace;
use super::token::{Token, Tokens};
use super::wire::{self, Answer, CellValue, Protection, Sheet};
use crate::a1::{CellRef, Column, Row};
use crate::config::{Feishu, ImageEncoding, SheetId, SpreadsheetToken, WikiToken};
use crate::pulse::{waiting, within};

mod identity;

/// An idle connection is given up before common gateways close it under us.
const IDLE: Duration = Duration::from_secs(50);

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
pub struct Client(Arc<Inner>, Option<Arc<dyn Meter>>, Option<Arc<dyn Leave>>);

struct Inner {
    http: reqwest::Client,
    endpoint: Url,
    app_id: String,
    identity: Who,
    encoding: ImageEncoding,
    request_timeout: Duration,
    tokens: Tokens,
    /// May be that of the client before, see [`Client::keep_pace_of`].
    pace: Arc<Pace>,
    rate: NonZeroU32,
    /// The writes in flight.
    crowd: Crowd,
    /// See [`Client::told_limit`]; 0 when no answer named one.
    told_limit: AtomicU64,
}

/// A call that carries a token.
enum Call<'a> {
    Get(Url),
    Post(Url, serde_json::Value),
    Write {
        url: Url,
        place: Place<'a>,
        name: &'a str,
        picture: &'a Picture,
        hold: &'a Hold,
    },
}

impl Client {
    /// The next call fetches a token, which then has what a person has granted meanwhile.
    pub fn forget_token(&self) {
        self.0.tokens.forget();
        self.try_anew();
    }

    /// A person may have mended what was refused for good: a refresh token is tried once more.
    pub fn try_anew(&self) {
        self.0.identity.try_anew();
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
            pace: Arc::new(Pace::new(config.requests_per_second)),
            rate: config.requests_per_second,
            crowd: Crowd::default(),
            told_limit: AtomicU64::new(0),
        };
        Ok(Self(Arc::new(inner), None, None))
    }

    /// Takes over from `former` what only its memory has: a person's token that could not be stored. For a new
    /// client, before it is used.
    pub fn follow(&mut self, former: &Self) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.identity.follow(&former.0.identity);
        }
    }

    /// Puts on disk what only its memory has, or says what is lost. Before the program ends.
    pub async fn leave(&self) {
        self.0.identity.leave().await;
    }

    /// The same client, whose calls are counted from now on.
    #[must_use]
    pub fn counted_by(&self, meter: Arc<dyn Meter>) -> Self {
        Self(Arc::clone(&self.0), Some(meter), self.2.clone())
    }

    /// Takes its turns among the calls of the client before it, when the app and its rate are the same: the
    /// server counts them together. For a client that nobody has a copy of yet.
    pub fn keep_pace_of(&mut self, before: &Self) {
        let before = &before.0;
        if let Some(inner) = Arc::get_mut(&mut self.0)
            && (&inner.app_id, inner.rate) == (&before.app_id, before.rate)
        {
            inner.pace = Arc::clone(&before.pace);
        }
    }

    /// The same client, which asks for leave immediately before each request.
    #[must_use]
    pub fn with_leave(&self, leave: Arc<dyn Leave>) -> Self {
        Self(Arc::clone(&self.0), self.1.clone(), Some(leave))
    }

    /// Writes `picture` into one cell. The request is begun at once, and not whole before `hold` ends.
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
        hold: &Hold,
    ) -> Result<Receipt, CallError> {
        let range = format!("{sheet}!{cell}:{cell}");
        let url = self.url(&[
            "sheets",
            "v2",
            "spreadsheets",
            spreadsheet.as_str(),
            "values_image",
        ]);
        let place = Place {
            spreadsheet,
            range: &range,
        };
        let write = Call::Write {
            url,
            place,
            name,
            picture,
            hold,
        };
        let (answer, log_id) = self.call(&write).await?;
        check_place(&answer, place, log_id)?;
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
                let sent = self.send(Kind::Counted, request, None).await;
                counted("extend", sent)
            }
            Call::Write {
                url,
                place,
                name,
                picture,
                hold,
            } => {
                let body = body::prepare(picture, self.0.encoding, place.range, name, hold)
                    .await
                    .map_err(CallError::Source)?;
                let request = self.request(Method::POST, url.clone(), token);
                let sent = self
                    .send(Kind::Counted, request, Some((body, *place)))
                    .await;
                counted("write", sent)
            }
        }
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

    /// Sends one request in its turn and reads the answer. A write tells its body, and where it goes.
    async fn send(
        &self,
        kind: Kind,
        request: RequestBuilder,
        write: Option<(Prepared, Place<'_>)>,
    ) -> Result<(Answer, Option<String>), CallError> {
        // Counted first: calls that wait for the disk together after their turns would leave together.
        if let Some(meter) = &self.1 {
            meter.spend(kind).await.map_err(CallError::Withheld)?;
        }
        waiting(self.0.pace.turn()).await;
        // The answer to a call before it may have asked for a wait meanwhile.
        if self.2.as_ref().is_some_and(|leave| !leave.may_go()) {
            if let Some(meter) = &self.1 {
                meter.unmade(kind);
            }
            return Err(CallError::NotNow);
        }
        let writes = write.is_some();
        let done = if let Some((body, place)) = write {
            // Only now: a body that waits holds a thread that others' disk work may need.
            let (body, sending) = body.start();
            let request = request.body(reqwest::Body::wrap(body));
            // It ends by its own limits, which grow while others share the link.
            waiting(self.write(request, &sending, place)).await
        } else {
            let limit = self.0.request_timeout;
            within(limit, self.exchange(request.timeout(limit), None)).await
        };
        if let (Some(meter), Err(error)) = (&self.1, &done)
            && kind == Kind::Counted
            && meter::is_free(error)
        {
            meter.refund();
        }
        if let Some(leave) = self.2.as_ref().filter(|_| kind == Kind::Counted) {
            leave.ended(done.as_ref().err(), writes);
        }
        done
    }

    /// A write has limits of its own, and a body that may break off.
    async fn write(
        &self,
        request: RequestBuilder,
        sending: &Sending,
        place: Place<'_>,
    ) -> Result<(Answer, Option<String>), CallError> {
        let crowd = self.0.crowd.join();
        let timeout = self.0.request_timeout;
        let done = tokio::select! {
            done = self.exchange(request, Some(place)) => done,
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
        place: Option<Place<'_>>,
    ) -> Result<(Answer, Option<String>), CallError> {
        let response = request.send().await.map_err(network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = header(&headers, "x-ogw-ratelimit-limit");
        if let Some(limit) = limit.and_then(|limit| limit.trim().parse().ok()) {
            self.0.told_limit.store(limit, Ordering::Relaxed);
        }
        let text = read_answer(response).await.map_err(network)?;
        let log_id = header(&headers, "x-tt-logid");
        judge(status, &headers, &text, log_id, place)
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
        Err(CallError::Withheld(_) | CallError::NotNow | CallError::NoToken(_)) => return done,
    };
    counter!("pixcell_calls_total", "endpoint" => endpoint, "class" => class).increment(1);
    done
}
