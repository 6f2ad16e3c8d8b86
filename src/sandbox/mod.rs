//! A strict stand-in for the Feishu API on loopback, with a page that shows the sheets: for the
//! demo and for tests.
//!
//! It is written against the vendor's documentation and shares no type with pixcell's own client,
//! so that a mistake in the one is not hidden by the same mistake in the other: of pixcell it uses
//! `image` and `a1` only. It refuses what the API refuses, counts what it sees, and can be told to
//! fail. It opens no connection of its own and touches no file.
//!
//! ```text
//!  server     listener and connections
//!  control    `/_sandbox/…`: state, faults, documents, holds
//!  page       the page, its style and its script
//!  exchange   one call from head to answer; the order of rules and faults
//!  work       what each call does
//!  shared     the lock around everything, and who is told of changes
//!  state      what can be seen: counts and calls
//!  answer     envelopes
//!  values, grid, sheet, spec, area, shelf    documents, sheets, cells; pure
//!  rules, body, route, tokens, pace, faults, endpoint    what is accepted, and what goes wrong; pure
//! ```

mod answer;
mod area;
mod body;
mod control;
mod endpoint;
mod exchange;
mod faults;
#[cfg(test)]
mod fixture;
mod grid;
mod pace;
mod page;
mod route;
mod rules;
mod server;
mod shared;
mod sheet;
mod shelf;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod tokens;
mod values;
mod work;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use area::Area;
pub use body::Encoding;
pub use endpoint::Endpoint;
pub use faults::{AnswerWhen, Cut, Fault, FaultAnswer, Faults, Waiting};
pub use grid::{Document, Documents};
pub use rules::Refusal;
pub use sheet::{Cell, ImageCell, Sheet};
pub use spec::{DocumentSpec, Merge, Permission, SheetSpec};
pub use state::{CallRecord, Outcome, State};

use shared::Shared;

/// How a stand-in starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; loopback only. Default: 127.0.0.1, any free port.
    pub addr: SocketAddr,
    /// The one app it knows. Default: `cli_sandbox`.
    pub app_id: String,
    /// That app's secret, made up like everything here. Default: `sandbox-secret`.
    pub app_secret: String,
    /// Calls in any second, for the app. Default: 100.
    pub requests_per_second: u32,
    /// Whether the calls documented with a limit of their own are held to it: listing sheets and
    /// looking up wiki nodes 100 a minute, downloads 5 a second. Default: yes.
    pub own_limits: bool,
    /// Whether a throttled call gets HTTP 400 instead of 429. Default: no.
    pub throttled_as_400: bool,
    /// Whether the range of a written image is answered as `updatedRange`, as the field table says,
    /// instead of `updateRange`, as the example says. Default: no.
    pub updated_range: bool,
    /// How long every call takes at least before its effect. Default: 0.
    pub latency: Duration,
    /// How long a token lives. Default: 2 hours.
    pub token_lifetime: Duration,
    /// A refresh token that is good for the first refresh of a user's token. Default: none.
    pub user_refresh_token: Option<String>,
    /// The documents there are at the start. Default: none.
    pub documents: Vec<DocumentSpec>,
    /// Bytes of pictures kept; beyond it the oldest lose theirs and only hash and length stay.
    /// Default: 256 MiB.
    pub keep_bytes: u64,
    /// What the page says beside an empty grid.
    pub hint: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            app_id: "cli_sandbox".to_owned(),
            app_secret: "sandbox-secret".to_owned(),
            requests_per_second: 100,
            own_limits: true,
            throttled_as_400: false,
            updated_range: false,
            latency: Duration::ZERO,
            token_lifetime: Duration::from_hours(2),
            user_refresh_token: None,
            documents: Vec::new(),
            keep_bytes: 256 * 1024 * 1024,
            hint: "Drop a picture into the watched folder; it appears here.".to_owned(),
        }
    }
}

/// A running stand-in. Dropping it stops it without waiting for calls in flight.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    addr: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// What was waited for did not come in time.
#[derive(Debug)]
pub struct TooLate {
    /// How long it was waited for.
    pub waited: Duration,
    /// What there was at the end.
    pub state: Box<State>,
}

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not within {:?}; the sandbox has\n{}",
            self.waited, self.state
        )
    }
}

impl std::error::Error for TooLate {}

impl Sandbox {
    /// Starts one.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback or an impossible document; otherwise
    /// those of binding the address.
    pub async fn start(options: Options) -> io::Result<Self> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        if !options.addr.ip().is_loopback() {
            return Err(invalid(format!(
                "the sandbox serves loopback only, not {}",
                options.addr
            )));
        }
        let listener = TcpListener::bind(options.addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options).map_err(invalid)?);
        let stop = CancellationToken::new();
        let task = tokio::spawn(server::run(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self {
            shared,
            addr,
            stop,
            task: Some(task),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL that takes the place of `https://open.feishu.cn`; no slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The page's address.
    pub fn page_url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Everything at this moment.
    pub fn state(&self) -> State {
        self.shared.look(|inner| inner.state.clone())
    }

    /// Waits until something is so; returns the state in which it was.
    ///
    /// # Errors
    /// [`TooLate`] when it is not so within `limit`.
    pub async fn wait_for(
        &self,
        is_so: impl Fn(&State) -> bool,
        limit: Duration,
    ) -> Result<State, TooLate> {
        let end = tokio::time::Instant::now() + limit;
        let mut versions = self.shared.versions();
        loop {
            versions.borrow_and_update();
            let found = self
                .shared
                .look(|inner| is_so(&inner.state).then(|| inner.state.clone()));
            if let Some(state) = found {
                return Ok(state);
            }
            let changed = tokio::time::timeout_at(end, versions.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Err(TooLate {
                    waited: limit,
                    state: Box::new(self.state()),
                });
            }
        }
    }

    /// Adds something to do wrong.
    ///
    /// # Errors
    /// With a sentence for people when it cannot be carried out.
    pub fn add_fault(&self, fault: Fault) -> Result<(), String> {
        self.shared.change(|inner| inner.state.faults.add(fault))
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.change(|inner| inner.state.faults.clear());
    }

    /// Ends the life of every token now.
    pub fn expire_tokens(&self) {
        let now = self.shared.now();
        self.shared.change(|inner| inner.tokens.expire_all(now));
    }

    /// Blocks these calls, all with an empty list, before their effect until [`Sandbox::release`].
    /// [`State::held`] says how many are blocked.
    pub fn hold(&self, endpoints: &[Endpoint]) {
        self.shared.set_hold(Some(endpoints));
    }

    /// Lets all blocked calls go on.
    pub fn release(&self) {
        self.shared.set_hold(None);
    }

    /// Makes or changes a document.
    ///
    /// # Errors
    /// With a sentence for people when it is impossible.
    pub fn set_document(&self, document: &DocumentSpec) -> Result<(), String> {
        self.shared
            .change(|inner| inner.state.documents.apply(document))
    }

    /// Changes a sheet as a person with the document open does; no call is counted.
    ///
    /// # Errors
    /// With a sentence for people when there is no such sheet.
    pub fn edit_sheet<R>(
        &self,
        spreadsheet: &str,
        sheet: &str,
        edit: impl FnOnce(&mut Sheet) -> R,
    ) -> Result<R, String> {
        self.shared.change(|inner| {
            let document = inner.state.documents.open(spreadsheet, false);
            let sheet = document.and_then(|document| document.open_sheet(sheet));
            sheet.map(edit).map_err(|refusal| refusal.to_string())
        })
    }

    /// The bytes of the picture in a cell, named as `B2`, unless they had to make room.
    pub fn image_bytes(&self, spreadsheet: &str, sheet: &str, cell: &str) -> Option<Bytes> {
        self.shared.look(|inner| {
            let image = inner.state.image(spreadsheet, sheet, cell)?;
            inner.shelf.get(&image.file_token)
        })
    }

    /// Stops listening, gives calls in flight a second to end, cuts the others.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // An error would be a panic, which its own report has told already.
            let _ = task.await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
